import type { Interceptor } from "@connectrpc/connect";
import {
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  type TextMapGetter,
  type Context as TraceContext,
  type Tracer,
  trace,
} from "@opentelemetry/api";
import { getNumberFromEnv, W3CTraceContextPropagator } from "@opentelemetry/core";
import {
  defaultResource,
  detectResources,
  resourceAttributesEnvDetector,
  resourceFromAttributes,
} from "@opentelemetry/resources";
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  BatchSpanProcessor,
  ParentBasedSampler,
  type Sampler,
  type SpanExporter,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from "@opentelemetry/sdk-trace";
import { listenToSteps } from "../../cri/call/interceptor.ts";
import { subjectOf } from "../../cri/call/log-subject.ts";
import { abortable } from "../../lib/abortable.ts";
import { describe, invalidArgument } from "../../lib/errors.ts";
import type { Log } from "../../lib/log.ts";
import type { StepListener } from "../../lib/step.ts";
import { version } from "../../version.ts";
import type { TraceTarget } from "./trace-target.ts";

export interface Traces extends AsyncDisposable {
  /** A span for each call, which continues the client's trace; outside of what turns errors into statuses. */
  readonly interceptor: Interceptor;
  /** A span for each step of work that no call has asked for. */
  readonly stepListener: StepListener;
}

/** For the last spans of a daemon that stops. */
const flushMs = 2000;

/** Sends spans of calls and their steps to a collector. One that cannot be reached costs the queue's memory and no more. */
export async function openTraces(
  log: Log,
  target: TraceTarget,
  load: LoadExporter,
): Promise<Traces> {
  const exporter = await openExporter(target, load);
  const provider = new TracerProvider({
    sampler: samplerOf(target),
    resource: defaultResource()
      .merge(detectResources({ detectors: [resourceAttributesEnvDetector] }))
      .merge(
        resourceFromAttributes({
          "service.name": target.serviceName,
          "service.version": version,
        }),
      ),
    spanProcessors: [
      new BatchSpanProcessor({
        exporter: reporting(exporter, log),
        maxQueueSize: getNumberFromEnv("OTEL_BSP_MAX_QUEUE_SIZE") ?? 2048,
        maxExportBatchSize: getNumberFromEnv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE") ?? 512,
        scheduledDelayMillis: getNumberFromEnv("OTEL_BSP_SCHEDULE_DELAY") ?? 5000,
        exportTimeoutMillis: getNumberFromEnv("OTEL_BSP_EXPORT_TIMEOUT") ?? 30_000,
      }),
    ],
  });
  const tracer = provider.getTracer("crib", version);
  return {
    interceptor: openInterceptor(tracer),
    stepListener: stepsOf(tracer, ROOT_CONTEXT),
    async [Symbol.asyncDispose]() {
      await abortable(provider.shutdown(), AbortSignal.timeout(flushMs)).catch(() => {});
    },
  };
}

type MakeExporter = new (options: { readonly url?: string }) => SpanExporter;

/** What sends spans, by `OTEL_EXPORTER_OTLP_PROTOCOL`. */
export type LoadExporter = Readonly<Record<"http/protobuf" | "grpc", () => Promise<MakeExporter>>>;

/** The exporters read `OTEL_EXPORTER_OTLP_*` themselves: endpoint, headers, certificates, compression, timeout. */
async function openExporter(
  { endpoint, protocol }: TraceTarget,
  load: LoadExporter,
): Promise<SpanExporter> {
  if (protocol !== "http/protobuf" && protocol !== "grpc") {
    throw invalidArgument(`OTLP protocol ${protocol}: http/protobuf and grpc are supported`);
  }
  const Exporter = await load[protocol]();
  if (endpoint === undefined) return new Exporter({});
  const base = endpoint.replace(/\/+$/, "");
  return new Exporter({ url: protocol === "grpc" ? base : `${base}/v1/traces` });
}

function samplerOf({ sampler, ratio }: TraceTarget): Sampler {
  const root = sampler.replace(/^parentbased_/, "");
  const samplers: Readonly<Record<string, () => Sampler>> = {
    always_on: () => new AlwaysOnSampler(),
    always_off: () => new AlwaysOffSampler(),
    traceidratio: () => new TraceIdRatioBasedSampler(ratio),
  };
  const open = samplers[root];
  if (open === undefined) throw invalidArgument(`OTEL_TRACES_SAMPLER: ${sampler} is not known`);
  return root === sampler ? open() : new ParentBasedSampler({ root: open() });
}

/** Says once that a collector does not take spans, and once that it does again. */
function reporting(exporter: SpanExporter, log: Log): SpanExporter {
  let isFailing = false;
  return {
    export(spans, done) {
      exporter.export(spans, (result) => {
        const { error } = result;
        if (result.code !== 0 && !isFailing) {
          log.warn("traces not exported", { err: error === undefined ? "" : describe(error) });
        } else if (result.code === 0 && isFailing) {
          log.info("traces exported again", {});
        }
        isFailing = result.code !== 0;
        done(result);
      });
    },
    shutdown: () => exporter.shutdown(),
    forceFlush: async () => await exporter.forceFlush?.(),
  };
}

const propagator = new W3CTraceContextPropagator();
const headers: TextMapGetter<Headers> = {
  keys: (carrier) => [...carrier.keys()],
  get: (carrier, key) => carrier.get(key) ?? undefined,
};

function openInterceptor(tracer: Tracer): Interceptor {
  return (next) => async (request) => {
    const parent = propagator.extract(ROOT_CONTEXT, request.header, headers);
    const { typeName: service } = request.service;
    const method = request.method.name;
    const attributes = {
      "rpc.system": "grpc",
      "rpc.service": service,
      "rpc.method": method,
      ...(request.stream ? {} : attributesOf(request.message)),
    };
    const span = tracer.startSpan(
      `${service}/${method}`,
      { kind: SpanKind.SERVER, attributes },
      parent,
    );
    if (!span.isRecording()) return await next(request);
    listenToSteps(request.contextValues, stepsOf(tracer, trace.setSpan(parent, span)));
    try {
      const response = await next(request);
      if (!response.stream) {
        span.setAttributes(attributesOf(response.message));
        span.end();
        return response;
      }
      const { message } = response;
      async function* messages(): typeof message {
        try {
          yield* message;
        } catch (err) {
          fail(span, err);
          throw err;
        } finally {
          span.end();
        }
      }
      return { ...response, message: messages() };
    } catch (err) {
      fail(span, err);
      span.end();
      throw err;
    }
  };
}

function stepsOf(tracer: Tracer, parent: TraceContext): StepListener {
  return (name, attributes = {}) => {
    const named = Object.entries(attributes).map(([key, value]) => [attributeName(key), value]);
    const span = tracer.startSpan(name, { attributes: Object.fromEntries(named) }, parent);
    return (outcome) => {
      if (outcome.isFailed) fail(span, outcome.error);
      span.end();
    };
  };
}

function fail(span: Span, err: unknown): void {
  const message = err === undefined ? "" : describe(err);
  span.setStatus({ code: SpanStatusCode.ERROR, message });
}

/** Ids and names, by OpenTelemetry's conventions where it has some. */
function attributesOf(message: object): Record<string, string> {
  const named: Record<string, string> = {};
  for (const [key, value] of Object.entries(subjectOf(message))) {
    if (key !== "pod") named[attributeName(key)] = String(value);
    else {
      const [namespace = "", ...pod] = String(value).split("/");
      named["k8s.namespace.name"] = namespace;
      named["k8s.pod.name"] = pod.join("/");
    }
  }
  return named;
}

const conventions: Readonly<Record<string, string>> = {
  container: "container.id",
  image: "container.image.name",
  name: "k8s.container.name",
  host: "server.address",
};

function attributeName(key: string): string {
  return conventions[key] ?? `crib.${key}`;
}

export type LoadTraces = () => Promise<
  (log: Log, target: TraceTarget) => ReturnType<typeof openTraces>
>;
