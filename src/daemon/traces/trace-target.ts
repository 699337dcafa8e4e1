import type { Config } from "../config/config.ts";

type Environment = Readonly<Record<string, string | undefined>>;

/** Where traces go. */
export interface TraceTarget {
  /** Undefined where the exporter finds it in the environment. */
  readonly endpoint: string | undefined;
  readonly protocol: string;
  /** A name that `OTEL_TRACES_SAMPLER` may have. */
  readonly sampler: string;
  /** Of samplers by ratio: 0 to 1. */
  readonly ratio: number;
  readonly serviceName: string;
}

/**
 * Whether traces are exported and where to: by `[traces]`, else by the variables that OpenTelemetry's SDKs, and containerd,
 * take. Undefined: nowhere, and then nothing of OpenTelemetry is loaded.
 */
export function traceTarget(
  { traces }: Pick<Config, "traces">,
  environment: Environment,
): TraceTarget | undefined {
  const read = (name: string) => environment[name]?.trim() || undefined;
  /** The variable for traces alone wins over the one for all signals. */
  const readOtlp = (name: string) =>
    read(`OTEL_EXPORTER_OTLP_TRACES_${name}`) ?? read(`OTEL_EXPORTER_OTLP_${name}`);
  if (read("OTEL_SDK_DISABLED")?.toLowerCase() === "true") return undefined;
  const serviceName = read("OTEL_SERVICE_NAME") ?? "crib";
  const { endpoint, protocol, samplePercent } = traces;
  if (endpoint !== "") {
    const ratio = samplePercent / 100;
    return { endpoint, protocol, sampler: "parentbased_traceidratio", ratio, serviceName };
  }
  if (read("OTEL_TRACES_EXPORTER")?.toLowerCase() === "none") return undefined;
  if (readOtlp("ENDPOINT") === undefined) return undefined;
  const ratio = Number(read("OTEL_TRACES_SAMPLER_ARG") ?? "1");
  return {
    endpoint: undefined,
    protocol: readOtlp("PROTOCOL") ?? protocol,
    sampler: read("OTEL_TRACES_SAMPLER")?.toLowerCase() ?? "parentbased_always_on",
    ratio: ratio >= 0 && ratio <= 1 ? ratio : 1,
    serviceName,
  };
}
