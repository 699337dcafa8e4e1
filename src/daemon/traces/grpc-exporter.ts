import type * as exporters from "@opentelemetry/exporter-trace-otlp-grpc";

/**
 * Sends spans over gRPC. Its ES modules require grpc-js in a way that the bundler does not see, so it is taken as CommonJS;
 * in a file of its own, since what is required belongs to the chunk of who requires it.
 */
const { OTLPTraceExporter }: typeof exporters = require("@opentelemetry/exporter-trace-otlp-grpc");

export const GrpcTraceExporter = OTLPTraceExporter;
