import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { asObject, parseJson } from "../lib/json.ts";

const maxTailBytes = 64 * 1024;
const maxMessageLength = 1024;

/** Why an OCI runtime failed, from the end of its `--log` file. `undefined` when it wrote no error. */
export function readRuntimeError(path: string): string | undefined {
  return findRuntimeError(readTail(path));
}

/** The last error among JSON entries of a runtime, on one line. Newer crun spreads an entry over several lines. */
export function findRuntimeError(text: string): string | undefined {
  for (const entry of text.split(/^(?=\{)/m).reverse()) {
    const message = errorOf(entry);
    if (message !== undefined) return oneLine(message);
  }
  return undefined;
}

export function oneLine(text: string): string {
  return text
    .replace(/\p{Cc}+/gu, " ")
    .trim()
    .slice(0, maxMessageLength);
}

function errorOf(text: string): string | undefined {
  if (!text.startsWith("{")) return undefined;
  try {
    // What is no JSON may follow on lines of its own.
    const [entry = ""] = /^\{(?:.*\}$|[\s\S]*?^\}$)/m.exec(text) ?? [];
    const { level, msg } = asObject(
      parseJson(entry, "runtime log", { maxBytes: maxTailBytes }),
      "runtime log",
    );
    if (level !== "error" && level !== "fatal") return undefined;
    return typeof msg === "string" ? msg : undefined;
  } catch {
    return undefined; // cut off
  }
}

function readTail(path: string): string {
  let fd: number;
  try {
    fd = openSync(path, "r");
  } catch {
    return "";
  }
  try {
    const tail = Buffer.alloc(maxTailBytes);
    const from = Math.max(0, fstatSync(fd).size - maxTailBytes);
    return tail.toString("utf8", 0, readSync(fd, tail, 0, maxTailBytes, from));
  } finally {
    closeSync(fd);
  }
}
