import { dlopen, ptr } from "bun:ffi";
import { int32 } from "../libc.ts";

const symbols = {
  crib_format_log: {
    args: ["ptr", "i64", "ptr", "i64", "ptr", "i64", "int", "ptr"],
    returns: "int",
  },
} as const;

/** The library copies a header with all of this room, so that is what its buffer has. */
export const headerRoom = 64;

export interface FormattedLines {
  readonly consumed: number;
  readonly produced: number;
  /** It stopped for want of room in the output: it wants to be called again. */
  readonly isFull: boolean;
}

/**
 * Writes whole lines of `input[from, end)` as entries of the CRI log format to the beginning of `output`; embed/log/cri-log.c says
 * exactly what.
 */
export type FormatLines = (
  input: Uint8Array,
  from: number,
  end: number,
  header: Uint8Array,
  headerLength: number,
  output: Uint8Array,
  isLast: boolean,
) => FormattedLines;

/** Opens what makes log entries of lines in native code. `undefined` where the library is missing. */
export function openLogLibrary(path: string): FormatLines | undefined {
  try {
    return formatWith(dlopen(path, symbols).symbols.crib_format_log);
  } catch {
    return undefined;
  }
}

function formatWith(
  format: ReturnType<typeof dlopen<typeof symbols>>["symbols"]["crib_format_log"],
): FormatLines {
  const progress = new BigInt64Array(2);
  return (input, from, end, header, headerLength, output, isLast) => {
    const isInside = 0 <= from && from < end && end <= input.byteLength;
    if (!isInside || header.byteLength < headerRoom || headerLength > headerRoom) {
      throw new RangeError(`log entries of [${from}, ${end}) with a header of ${headerLength}`);
    }
    const isFull = format(
      ...[ptr(input, from), BigInt(int32(end - from))],
      ...[ptr(header), BigInt(int32(headerLength))],
      ...[ptr(output), BigInt(int32(output.byteLength))],
      ...[isLast ? 1 : 0, ptr(progress)],
    );
    return {
      consumed: Number(progress[0]),
      produced: Number(progress[1]),
      isFull: isFull === 1,
    };
  };
}
