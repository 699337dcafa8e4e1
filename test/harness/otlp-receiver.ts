import { parts } from "../parts/paths.ts";

export interface ReceivedSpan {
  readonly over: "grpc" | "http";
  readonly service: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly name: string;
  readonly kind: string;
  readonly status: string;
  readonly attributes: Readonly<Record<string, string>>;
  /** The request's `x-test`. */
  readonly header: string;
}

/** Takes traces by OpenTelemetry's protos (test/parts/otlp) until it is disposed of. */
export interface OtlpReceiver extends AsyncDisposable {
  readonly grpc: string;
  readonly http: string;
  /** All that came. */
  readonly spans: readonly ReceivedSpan[];
}

export async function startOtlpReceiver(): Promise<OtlpReceiver> {
  const server = Bun.spawn([parts.otlpReceiver], { stdout: "pipe", stderr: "inherit" });
  const spans: ReceivedSpan[] = [];
  const { promise, resolve, reject } = Promise.withResolvers<{ grpc: string; http: string }>();
  const reading = (async () => {
    let rest = "";
    const decoder = new TextDecoder();
    for await (const chunk of server.stdout) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        const value = JSON.parse(line);
        if ("grpc" in value) resolve(value);
        else spans.push(value);
      }
    }
    reject(new Error("the receiver of traces has ended"));
  })();
  const { grpc, http } = await promise;
  return {
    grpc,
    http,
    spans,
    async [Symbol.asyncDispose]() {
      server.kill();
      await server.exited;
      await reading;
    },
  };
}
