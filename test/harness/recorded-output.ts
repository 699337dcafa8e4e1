import type { Output } from "../../src/cli/output/output.ts";
import type { WindowSize } from "../../src/os/terminal.ts";

export interface RecordedOutput {
  readonly out: Output;
  /** What was written to each so far. */
  readonly text: { readonly stdout: string; readonly stderr: string };
  /** The terminal gets another size. */
  resize(size: WindowSize): void;
}

/** An `Output` that a test reads: no terminal unless it `isTerminal`, no colours unless `paint` gives some. */
export function recordOutput(
  options: { readonly isTerminal?: boolean; readonly paint?: Output["paint"] } = {},
): RecordedOutput {
  const isTerminal = options.isTerminal ?? false;
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  const resized = new Set<() => void>();
  let size = isTerminal ? { columns: 80, rows: 24 } : undefined;
  const out: Output = {
    isTerminal,
    canRedraw: isTerminal,
    write: (data) => void stdout.push(Buffer.from(data as string)),
    writeError: (data) => void stderr.push(Buffer.from(data as string)),
    paint: options.paint ?? ((_style, text) => text),
    size: () => size,
    onResize(changed) {
      resized.add(changed);
      return { [Symbol.dispose]: () => void resized.delete(changed) };
    },
  };
  return {
    out,
    text: {
      get stdout() {
        return Buffer.concat(stdout).toString();
      },
      get stderr() {
        return Buffer.concat(stderr).toString();
      },
    },
    resize(next) {
      size = next;
      for (const changed of resized) changed();
    },
  };
}
