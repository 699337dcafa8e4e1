import { type ErrorKind, invalidArgument, parseErrorKind } from "../../lib/errors.ts";
import {
  asArray,
  asBoolean,
  asInteger,
  asObject,
  asString,
  optional,
  parseJson,
} from "../../lib/json.ts";
import { decodeExitRecord, type ExitRecord, encodeExitRecord } from "./exit-record.ts";
import { asPath, maxContainers, maxMessageBytes, readId } from "./monitor-protocol.ts";

/** A first process, named for the life of this boot, and the descriptors of its monitor that die with the monitor. */
export interface CreatedContainer {
  readonly pid: number;
  readonly startTime: number;
  /** Descriptor numbers in the monitor, for pidfd_getfd(2). */
  readonly terminalFd?: number | undefined;
  readonly stdinFd?: number | undefined;
  /** Why the runtime made it, although it was tried without. */
  readonly leftToRuntime?: string | undefined;
}

export interface ListedContainer extends CreatedContainer {
  readonly container: string;
  readonly dir: string;
  /** Its process is another's child: this monitor is the successor of a killed one. */
  readonly isAdopted: boolean;
  readonly exited?: ExitRecord | undefined;
}

export interface HelloResult {
  readonly version: number;
  readonly pid: number;
}

export interface MonitorError {
  readonly kind: ErrorKind;
  readonly message: string;
  /** It is a `CreateRefusal`. */
  readonly isRefusal?: boolean | undefined;
}

export type MonitorMessage =
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly error: MonitorError }
  | { readonly event: "exited"; readonly container: string; readonly record: ExitRecord };

/** Reads what a monitor says. `result` is read by who asked. */
export function parseMessage(line: Uint8Array): MonitorMessage {
  const object = asObject(
    parseJson(line, "monitor message", { maxBytes: maxMessageBytes }),
    "monitor message",
  );
  if (object["event"] !== undefined) {
    if (object["event"] !== "exited") throw invalidArgument("monitor message: unknown event");
    return {
      event: "exited",
      container: readId(object),
      record: decodeExitRecord(object["record"], "exited.record"),
    };
  }
  const id = asInteger(object["id"], "message.id");
  if (object["error"] === undefined) return { id, result: object["result"] };
  const error = asObject(object["error"], "message.error");
  return {
    id,
    error: {
      kind: parseErrorKind(asString(error["kind"], "error.kind")),
      message: asString(error["message"], "error.message"),
      isRefusal: optional(error["isRefusal"], "error.isRefusal", asBoolean),
    },
  };
}

export function readHelloResult(value: unknown): HelloResult {
  const object = asObject(value, "hello");
  return {
    version: asInteger(object["version"], "hello.version"),
    pid: asInteger(object["pid"], "hello.pid"),
  };
}

export function readCreatedContainer(value: unknown, what = "create"): CreatedContainer {
  const object = asObject(value, what);
  return {
    pid: asInteger(object["pid"], `${what}.pid`),
    startTime: asInteger(object["startTime"], `${what}.startTime`),
    terminalFd: optional(object["terminalFd"], `${what}.terminalFd`, asInteger),
    stdinFd: optional(object["stdinFd"], `${what}.stdinFd`, asInteger),
    leftToRuntime: optional(object["leftToRuntime"], `${what}.leftToRuntime`, asString),
  };
}

export function readList(value: unknown): readonly ListedContainer[] {
  return asArray(value, "list", maxContainers).map((item, i) => {
    const object = asObject(item, `list[${i}]`);
    return {
      ...readCreatedContainer(object, `list[${i}]`),
      container: readId(object),
      dir: asPath(object["dir"], `list[${i}].dir`),
      isAdopted: asBoolean(object["isAdopted"], `list[${i}].isAdopted`),
      exited: optional(object["exited"], `list[${i}].exited`, decodeExitRecord),
    };
  });
}

/** One line. The bigint of an exit record becomes a string. */
export function formatMessage(message: object): string {
  const text = JSON.stringify(message, (_key, value) =>
    isExitRecord(value) ? encodeExitRecord(value) : value,
  );
  return `${text}\n`;
}

function isExitRecord(value: unknown): value is ExitRecord {
  return (
    typeof value === "object" &&
    value !== null &&
    "finishedAtNs" in value &&
    typeof value.finishedAtNs === "bigint"
  );
}
