import { statSync } from "node:fs";
import { ifThere } from "../errno-error.ts";

const S_IXOTH = 0o001;

/**
 * The first directory on the way to `path`, itself included, that users other than its owner may not pass through;
 * `undefined` where there is none. `modeOf` returns permission bits, and `undefined` where there is nothing.
 */
export function findUnsearchable(
  path: string,
  modeOf: (directory: string) => number | undefined = readMode,
): string | undefined {
  const parts = path.split("/").filter((part) => part !== "");
  const directories = ["/", ...parts.map((_, i) => `/${parts.slice(0, i + 1).join("/")}`)];
  return directories.find((directory) => ((modeOf(directory) ?? S_IXOTH) & S_IXOTH) === 0);
}

function readMode(directory: string): number | undefined {
  return ifThere(() => statSync(directory).mode);
}
