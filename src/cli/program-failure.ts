/**
 * Why a program did not start in a container, in the words of those who tried: crib itself and runc (`exec: "x": ...`,
 * `exec x: ...`), crun and gVisor. What is wrong with anything else, the working directory or a mount, is not in here.
 */
const notFound = [
  /\bexec: "[^"]*": (executable file not found in \$PATH|(stat [^:]*: )?no such file or directory)/,
  /\bexec "?[^":]*"?: no such file or directory/,
  /executable file [`"'][^`"']*[`"'] not found/,
  /error finding executable "[^"]*" in PATH/,
  /failed to load [^:]*: no such file or directory/,
];

const notExecutable = [
  /\bexec: "[^"]*": (permission denied|is a directory|not a directory|exec format error|operation not permitted|too many levels of symbolic links|argument list too long)/,
  /\bexec "?[^":]*"?: (permission denied|is a directory|not a directory|exec format error|operation not permitted|too many levels of symbolic links|argument list too long|invalid argument|text file busy)/,
  /(open executable|exec container process [`"'][^`"']*[`"']|executable file [`"'][^`"']*[`"']): (Permission denied|Operation not permitted|Is a directory|Not a directory|Exec format error)/i,
  /failed to load [^:]*: (permission denied|is a directory|exec format error)/,
];

/** Of a message of the daemon. `undefined`: it speaks of something else. */
export function programFailureOf(message: string): "not-found" | "not-executable" | undefined {
  if (notFound.some((form) => form.test(message))) return "not-found";
  return notExecutable.some((form) => form.test(message)) ? "not-executable" : undefined;
}
