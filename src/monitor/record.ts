import { readdirSync, readFileSync, rmSync } from "node:fs";
import { writeFileAtomically } from "../lib/atomic-file.ts";
import { asBoolean, asInteger, asObject, optional, parseJson } from "../lib/json.ts";
import { decodeExitRecord, type ExitRecord } from "../runtime/monitor/exit-record.ts";
import { type ContainerPlan, readPlan } from "../runtime/monitor/monitor-protocol.ts";
import { formatMessage } from "../runtime/monitor/monitor-responses.ts";

/** The pid of a container whose processes others watch. */
export const noProcess = 0;

/** A container as the monitor keeps it on disk, so that its successor can go on with it. */
export interface ContainerRecord {
  readonly plan: ContainerPlan;
  readonly pid: number;
  readonly startTime: number;
  readonly exited?: ExitRecord | undefined;
  /** Its stdin was open once and must not be opened again. */
  readonly isStdinClosed?: boolean | undefined;
}

const maxBytes = 256 * 1024;
const suffix = ".json";

export function writeRecord(dir: string, record: ContainerRecord): void {
  const path = `${dir}/${record.plan.container}${suffix}`;
  writeFileAtomically(path, formatMessage(record), { brief: true });
}

export function removeRecord(dir: string, container: string): void {
  rmSync(`${dir}/${container}${suffix}`, { force: true });
}

/** Every record that can be read; `report` gets the others. */
export function readRecords(
  dir: string,
  report: (file: string, err: unknown) => void,
): readonly ContainerRecord[] {
  const records: ContainerRecord[] = [];
  for (const name of readdirSync(dir)) {
    if (!name.endsWith(suffix)) continue;
    try {
      records.push(decode(readFileSync(`${dir}/${name}`), name));
    } catch (err) {
      report(name, err);
    }
  }
  return records;
}

function decode(text: Buffer, what: string): ContainerRecord {
  const object = asObject(parseJson(text, what, { maxBytes }), what);
  return {
    plan: readPlan(asObject(object["plan"], `${what}: plan`), `${what}: plan`),
    pid: asInteger(object["pid"], `${what}: pid`),
    startTime: asInteger(object["startTime"], `${what}: startTime`),
    exited: optional(object["exited"], `${what}: exited`, decodeExitRecord),
    isStdinClosed: optional(object["isStdinClosed"], `${what}: isStdinClosed`, asBoolean),
  };
}
