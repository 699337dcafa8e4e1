import { readFileSync } from "node:fs";
import { writeFileAtomically } from "../../lib/atomic-file.ts";
import { invalidArgument } from "../../lib/errors.ts";
import { asBoolean, asInteger, asObject, asString, optional, parseJson } from "../../lib/json.ts";
import { ifThere } from "../../os/errno-error.ts";

/** How a container ended. On disk before it is reported, so that no crash loses it. */
export interface ExitRecord {
  /** As a shell shows it: 128 + signal for a killed process; 255 where nobody saw the end. */
  readonly exitCode: number;
  readonly signal?: number | undefined;
  /** The kernel killed a process of the container for want of memory. */
  readonly oomKilled: boolean;
  readonly finishedAtNs: bigint;
  /** The process is gone and its status with it: everybody who could have reaped it was killed too. */
  readonly isUnknown: boolean;
}

const maxBytes = 4096;

/** Durable when it returns: the record and its directory are on disk. */
export function writeExitRecord(path: string, record: ExitRecord): void {
  writeFileAtomically(path, `${JSON.stringify(encodeExitRecord(record))}\n`);
}

/** `undefined` when the container has not ended. */
export function readExitRecord(path: string): ExitRecord | undefined {
  const text = ifThere(() => readFileSync(path));
  if (text === undefined) return undefined;
  return decodeExitRecord(parseJson(text, `exit record ${path}`, { maxBytes }), "exit record");
}

/** The record as JSON has it: nanoseconds do not fit a JSON number. */
export function encodeExitRecord(record: ExitRecord): Readonly<Record<string, unknown>> {
  return { ...record, finishedAtNs: record.finishedAtNs.toString() };
}

export function decodeExitRecord(value: unknown, what: string): ExitRecord {
  const object = asObject(value, what);
  const finishedAtNs = asString(object["finishedAtNs"], `${what}.finishedAtNs`);
  if (!/^[0-9]{1,19}$/.test(finishedAtNs)) throw invalidArgument(`${what}.finishedAtNs: no time`);
  return {
    exitCode: asInteger(object["exitCode"], `${what}.exitCode`),
    signal: optional(object["signal"], `${what}.signal`, asInteger),
    oomKilled: asBoolean(object["oomKilled"], `${what}.oomKilled`),
    finishedAtNs: BigInt(finishedAtNs),
    isUnknown: asBoolean(object["isUnknown"], `${what}.isUnknown`),
  };
}
