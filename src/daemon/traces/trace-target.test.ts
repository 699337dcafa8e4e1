import { expect, test } from "bun:test";
import { traceTarget } from "./trace-target.ts";

const off = { traces: { endpoint: "", protocol: "http/protobuf", samplePercent: 100 } } as const;
const endpoint = { OTEL_EXPORTER_OTLP_ENDPOINT: "http://c:4318" };

test("traceTarget() is undefined unless an endpoint is given", () => {
  expect(traceTarget(off, {})).toBeUndefined();
  expect(traceTarget(off, { OTEL_EXPORTER_OTLP_ENDPOINT: " " })).toBeUndefined();
  expect(traceTarget(off, { ...endpoint, OTEL_SDK_DISABLED: "true" })).toBeUndefined();
  expect(traceTarget(off, { ...endpoint, OTEL_TRACES_EXPORTER: "none" })).toBeUndefined();
});

test("traceTarget() goes by OTEL_ variables, those for traces first", () => {
  expect(traceTarget(off, endpoint)).toEqual({
    endpoint: undefined,
    protocol: "http/protobuf",
    sampler: "parentbased_always_on",
    ratio: 1,
    serviceName: "crib",
  });
  const all = {
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "http://c:4317",
    OTEL_EXPORTER_OTLP_PROTOCOL: "http/protobuf",
    OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: "grpc",
    OTEL_TRACES_SAMPLER: "traceidratio",
    OTEL_TRACES_SAMPLER_ARG: "0.25",
    OTEL_SERVICE_NAME: "edge",
  };
  const expected = { protocol: "grpc", sampler: "traceidratio", ratio: 0.25, serviceName: "edge" };
  expect(traceTarget(off, all)).toMatchObject(expected);
  expect(traceTarget(off, { ...all, OTEL_TRACES_SAMPLER_ARG: "much" })).toMatchObject({ ratio: 1 });
});

test("traceTarget() goes by the configuration where that has an endpoint", () => {
  const traces = { endpoint: "http://own:4317", protocol: "grpc", samplePercent: 5 } as const;
  expect(traceTarget({ traces }, endpoint)).toMatchObject({
    ...{ endpoint: "http://own:4317", protocol: "grpc" },
    ...{ sampler: "parentbased_traceidratio", ratio: 0.05 },
  });
  expect(traceTarget({ traces }, { OTEL_SDK_DISABLED: "TRUE" })).toBeUndefined();
});
