import { formatElapsed } from "../output/format.ts";
import { type Output, plain } from "../output/output.ts";
import { startProgress } from "../output/progress.ts";

/** Prints step by step what happens, how long it took and what came of it. */
export interface Narrator {
  /** Runs `act`; the `detail` of its result stands beside the time. A failure is marked and thrown on; once interrupted, no step begins. */
  step<T extends { readonly detail: string }>(title: string, act: () => Promise<T>): Promise<T>;
  /** What a program wrote, set off from what we say. */
  quote(text: string): void;
}

const titleWidth = 30;
const timeWidth = 8;

/** Without a signal, as for cleaning up, nothing interrupts. */
export function narrate(out: Output, interrupt?: AbortSignal): Narrator {
  return {
    async step(title, act) {
      interrupt?.throwIfAborted();
      const startedAt = performance.now();
      const line = (mark: string, detail: string) => {
        const elapsed = formatElapsed(performance.now() - startedAt).padStart(timeWidth);
        const rest = detail === "" ? "" : `  ${detail}`;
        out.write(`${mark} ${title.padEnd(titleWidth)} ${out.paint("dim", elapsed)}${rest}\n`);
      };
      try {
        const response = await during(out, title, act);
        line(out.paint("green", "✓"), plain(response.detail));
        return response;
      } catch (err) {
        line(out.paint("red", "✗"), "");
        throw err;
      }
    },
    quote(text) {
      for (const line of text.trimEnd().split("\n")) {
        out.write(`  ${out.paint("cyan", "│")} ${plain(line)}\n`);
      }
    },
  };
}

async function during<T>(out: Output, title: string, act: () => Promise<T>): Promise<T> {
  using _progress = startProgress(out, () => title);
  return await act();
}
