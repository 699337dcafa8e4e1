import { formatElapsed } from "./format.ts";
import { type Output, plain } from "./output.ts";

const frames = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"] as const;
const frameMs = 100;
const clearLine = "\r\x1b[K";

/**
 * A line on stderr that moves until it is disposed, and nothing where stderr is no terminal. `describe` is asked
 * at every frame: today it says what goes on, bytes and layers once the daemon reports them.
 */
export function startProgress(out: Output, describe: () => string): Disposable {
  if (!out.canRedraw) return { [Symbol.dispose]: () => {} };
  const startedAt = performance.now();
  let frame = 0;
  const draw = () => {
    const elapsed = formatElapsed(performance.now() - startedAt);
    const mark = frames[frame++ % frames.length];
    out.writeError(`${clearLine}${mark} ${plain(describe())} ${elapsed}`);
  };
  draw();
  const timer = setInterval(draw, frameMs);
  return {
    [Symbol.dispose]: () => {
      clearInterval(timer);
      out.writeError(clearLine);
    },
  };
}
