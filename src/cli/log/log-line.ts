import { invalidArgument } from "../../lib/errors.ts";

/** One line of a CRI log file: `TIME STREAM TAG CONTENT`. */
export interface LogLine {
  readonly time: string;
  readonly stream: "stdout" | "stderr";
  /** Tag P: the container's line goes on in this stream's next one. */
  readonly isPartial: boolean;
  readonly content: Uint8Array;
}

const space = 0x20;

/** `line` without its newline. */
export function parseLogLine(line: Buffer): LogLine {
  const afterTime = line.indexOf(space);
  const stream = line.toString("latin1", afterTime + 1, afterTime + 7);
  const afterName = afterTime + 7;
  if (afterTime < 1 || (stream !== "stdout" && stream !== "stderr") || line[afterName] !== space) {
    throw notALog(line);
  }
  const afterTag = line.indexOf(space, afterName + 1);
  const end = afterTag < 0 ? line.byteLength : afterTag;
  // Tags are separated by colons; the first says whether the line is whole (kubelet's logs package).
  const tag = line.toString("latin1", afterName + 1, end).split(":")[0];
  if (tag !== "P" && tag !== "F") throw notALog(line);
  return {
    time: line.toString("latin1", 0, afterTime),
    stream,
    isPartial: tag === "P",
    content: line.subarray(end + 1),
  };
}

function notALog(line: Buffer): Error {
  const start = JSON.stringify(line.toString("latin1", 0, 60));
  return invalidArgument(`not a line of a CRI log: ${start}`);
}
