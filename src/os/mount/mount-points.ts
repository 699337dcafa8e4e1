import { readFileSync, realpathSync } from "node:fs";
import { ifThere } from "../errno-error.ts";

/** Where something is mounted below a directory, by whatever links it is called; in the order in which it was mounted. */
export function mountPointsBelow(directory: string): readonly string[] {
  const real = ifThere(() => realpathSync(directory));
  if (real === undefined) return [];
  // proc_pid_mountinfo(5), field 5.
  return readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .map((line) => unescapeMountPath(line.split(" ")[4] ?? ""))
    .filter((path) => path.startsWith(real === "/" ? "/" : `${real}/`));
}

/** Whether what is mounted at this path, which has no links in it, appears in other mount namespaces too. */
export function isSharedMount(realPath: string): boolean {
  let shared = false;
  let longest = -1;
  for (const line of readFileSync("/proc/self/mountinfo", "utf8").split("\n")) {
    // Fields: id, parent, device, root, mount point, options, then optional ones up to a hyphen.
    const fields = line.split(" ");
    const point = unescapeMountPath(fields[4] ?? "");
    const below = point === "/" || realPath === point || realPath.startsWith(`${point}/`);
    // A later mount at the same place covers an earlier one.
    if (point === "" || !below || point.length < longest) continue;
    longest = point.length;
    shared = fields.slice(6, fields.indexOf("-")).some((field) => field.startsWith("shared:"));
  }
  return shared;
}

/** The kernel writes space, tab, newline and backslash as three octal digits. */
export function unescapeMountPath(text: string): string {
  return text.replaceAll(/\\([0-7]{3})/g, (_, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  );
}
