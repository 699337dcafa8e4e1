import { invalidArgument } from "../../lib/errors.ts";
import { isId } from "../../lib/id.ts";
import {
  asBoolean,
  asInteger,
  asList,
  asObject,
  asString,
  type JsonObject,
  optional,
  parseJson,
} from "../../lib/json.ts";
import type { ExitStatus } from "../../os/process/pidfd.ts";
import type { LogLimits } from "../runtime.ts";
import { decodeExitRecord, type ExitRecord } from "./exit-record.ts";

/*
 * What the daemon and a monitor say to each other on `<monitor>/monitor.sock` (0600): JSON values, one a line.
 * Not protobuf, although everything else on a wire here is: its runtime would cost each monitor more memory than
 * all the rest of its work, and there are twelve small messages.
 *
 *   daemon → monitor   {"id": 7, "op": "resize", ...}
 *   monitor → daemon   {"id": 7, "result": ...} or {"id": 7, "error": {"kind": ..., "message": ...}}
 *                      {"event": "exited", "container": ..., "record": ...}   to every connection
 *
 * Requests are here, and what a monitor sends is in monitor-responses.ts.
 * After the response to `attach` the connection carries attach-frames.ts and nothing else.
 *
 * The first request of a connection is `hello`. Responses come in any order. A message over `maxMessageBytes`, or one
 * that does not parse, ends the connection. A new version may add requests and optional fields; anything else needs
 * a new number, and the daemon goes on speaking the old one to monitors that still run it.
 */
export const protocolVersion = 1;
export const maxMessageBytes = 256 * 1024;
/** How many containers one monitor takes. */
export const maxContainers = 100;

/** What a container needs from its monitor; also what the monitor keeps on disk so that its successor can go on. */
export interface ContainerPlan {
  readonly container: string;
  readonly terminal: boolean;
  readonly stdin: boolean;
  readonly stdinOnce: boolean;
  /** The container's own directory: the named pipes are made in it. */
  readonly dir: string;
  /** Empty: nobody wants the output. */
  readonly logPath: string;
  /** Where it and those of the pod's other containers are: no link is followed from here on. */
  readonly podLogDirectory?: string | undefined;
  /** The monitor rotates the log itself; absent, the daemon asks it to (`reopenLog`). */
  readonly logLimits?: LogLimits | undefined;
  readonly exitFile: string;
  /** memory.oom_control (v1) or memory.events (v2) of the container; the first that exists counts. */
  readonly oomFiles: readonly string[];
}

/** The plan alone, of something that also has one. */
export function planOf(plan: ContainerPlan): ContainerPlan {
  const { container, terminal, stdin, stdinOnce, dir, exitFile, oomFiles } = plan;
  const { logPath, podLogDirectory, logLimits } = plan;
  const log = { logPath, podLogDirectory, logLimits };
  return { container, terminal, stdin, stdinOnce, dir, ...log, exitFile, oomFiles };
}

export interface CreateRequest extends ContainerPlan {
  readonly op: "create";
  readonly createArgv: readonly string[];
  readonly env: readonly string[];
  readonly cwd: string;
  readonly pidFile: string;
  /** Where the monitor listens for the terminal that the OCI runtime sends; of a container that has one. */
  readonly consoleSocket?: string | undefined;
  /** Where the OCI runtime writes why it failed (`--log`, as JSON lines). */
  readonly runtimeLog: string;
  readonly timeoutMs: number;
  /** The container is first tried to be made without the runtime: the program `create`, and its plan. */
  readonly direct?: { readonly program: string; readonly planFile: string } | undefined;
}

export interface AdoptRequest extends ContainerPlan {
  readonly op: "adopt";
  readonly pid: number;
  readonly startTime: number;
}

/** Pipes and log of a container whose processes are not ours to watch: a shim's. Its end is reported by `ended`. */
export interface OpenStreamsRequest extends ContainerPlan {
  readonly op: "openStreams";
}

/** A container of `openStreams` has ended. The response comes when its log is complete and the record on disk. Idempotent. */
export interface EndedRequest {
  readonly op: "ended";
  readonly container: string;
  readonly record: ExitRecord;
  /** How long its pipes may stay open, by processes that nobody has ended. */
  readonly drainMs: number;
}

export interface AttachRequest {
  readonly op: "attach";
  readonly container: string;
  /** Which streams; a terminal's output is stdout. */
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
}

export type MonitorRequest =
  | { readonly op: "hello"; readonly version: number }
  | CreateRequest
  | { readonly op: "list" }
  | { readonly op: "reopenLog"; readonly container: string }
  | {
      readonly op: "resize";
      readonly container: string;
      readonly columns: number;
      readonly rows: number;
    }
  /** A container that runs and that no monitor has: what one had written down of it is lost. Idempotent. */
  | AdoptRequest
  | OpenStreamsRequest
  | EndedRequest
  /** Closes everything of a container that has been removed. Idempotent. */
  | { readonly op: "forget"; readonly container: string }
  /** The daemon reaped a process that the kernel had given to it. */
  | {
      readonly op: "exitedElsewhere";
      readonly container: string;
      readonly status: ExitStatus | undefined;
    }
  /** The daemon gives back a descriptor that it kept while there was no monitor. */
  | {
      readonly op: "takeDescriptor";
      readonly container: string;
      readonly kind: "terminal" | "stdin";
      readonly pid: number;
      readonly fd: number;
    }
  /** The container's streams, on this connection from now on. */
  | AttachRequest
  /** Take no new container, leave after the last one. */
  | { readonly op: "retire" };

/** Request ids that the sender chose come back with the response, also when the rest of it was refused. */
export interface NumberedRequest {
  readonly id: number;
  readonly parse: () => MonitorRequest;
}

export function parseRequest(line: Uint8Array): NumberedRequest {
  const object = asObject(
    parseJson(line, "monitor request", { maxBytes: maxMessageBytes }),
    "monitor request",
  );
  return { id: asInteger(object["id"], "request.id"), parse: () => readRequest(object) };
}

function readRequest(object: JsonObject): MonitorRequest {
  const op = asString(object["op"], "request.op");
  switch (op) {
    case "hello":
      return { op, version: asInteger(object["version"], "hello.version") };
    case "list":
    case "retire":
      return { op };
    case "create":
      return readCreate(object);
    case "adopt":
      return {
        op,
        ...readPlan(object, "adopt"),
        pid: asInteger(object["pid"], "adopt.pid"),
        startTime: asInteger(object["startTime"], "adopt.startTime"),
      };
    case "openStreams":
      return { op, ...readPlan(object, op) };
    case "ended":
      return {
        op,
        container: readId(object),
        record: decodeExitRecord(object["record"], "ended.record"),
        drainMs: asInteger(object["drainMs"], "ended.drainMs"),
      };
    case "reopenLog":
    case "forget":
      return { op, container: readId(object) };
    case "attach":
      return {
        op,
        container: readId(object),
        stdin: asBoolean(object["stdin"], "attach.stdin"),
        stdout: asBoolean(object["stdout"], "attach.stdout"),
        stderr: asBoolean(object["stderr"], "attach.stderr"),
      };
    case "resize":
      return {
        op,
        container: readId(object),
        columns: readUint16(object["columns"], "resize.columns"),
        rows: readUint16(object["rows"], "resize.rows"),
      };
    case "exitedElsewhere":
      return {
        op,
        container: readId(object),
        status: optional(object["status"], "status", readStatus),
      };
    case "takeDescriptor": {
      const kind = asString(object["kind"], "takeDescriptor.kind");
      if (kind !== "terminal" && kind !== "stdin") throw invalidArgument(`no descriptor ${kind}`);
      return {
        op,
        kind,
        container: readId(object),
        pid: asInteger(object["pid"], "takeDescriptor.pid"),
        fd: asInteger(object["fd"], "takeDescriptor.fd"),
      };
    }
    default:
      throw invalidArgument(
        `monitor request: unknown operation ${JSON.stringify(op.slice(0, 40))}`,
      );
  }
}

function readCreate(object: JsonObject): CreateRequest {
  const createArgv = asList(object["createArgv"], "create.createArgv", asString);
  if (!createArgv[0]?.startsWith("/")) throw invalidArgument("create.createArgv: no absolute path");
  return {
    op: "create",
    ...readPlan(object, "create"),
    createArgv,
    env: asList(object["env"], "create.env", asString),
    cwd: asPath(object["cwd"], "create.cwd"),
    pidFile: asPath(object["pidFile"], "create.pidFile"),
    consoleSocket: optional(object["consoleSocket"], "create.consoleSocket", asPath),
    runtimeLog: asPath(object["runtimeLog"], "create.runtimeLog"),
    timeoutMs: asInteger(object["timeoutMs"], "create.timeoutMs"),
    direct: optional(object["direct"], "create.direct", readDirect),
  };
}

function readDirect(value: unknown, what: string) {
  const object = asObject(value, what);
  return {
    program: asPath(object["program"], `${what}.program`),
    planFile: asPath(object["planFile"], `${what}.planFile`),
  };
}

function asLogLimits(value: unknown, what: string): LogLimits {
  const object = asObject(value, what);
  return {
    maxSizeBytes: asInteger(object["maxSizeBytes"], `${what}.maxSizeBytes`),
    maxFiles: asInteger(object["maxFiles"], `${what}.maxFiles`),
  };
}

export function readPlan(object: JsonObject, what: string): ContainerPlan {
  const logPath = asString(object["logPath"], `${what}.logPath`);
  return {
    container: readId(object),
    terminal: asBoolean(object["terminal"], `${what}.terminal`),
    stdin: asBoolean(object["stdin"], `${what}.stdin`),
    stdinOnce: asBoolean(object["stdinOnce"], `${what}.stdinOnce`),
    dir: asPath(object["dir"], `${what}.dir`),
    logPath: logPath === "" ? "" : asPath(logPath, `${what}.logPath`),
    podLogDirectory: optional(object["podLogDirectory"], `${what}.podLogDirectory`, asPath),
    logLimits: optional(object["logLimits"], `${what}.logLimits`, asLogLimits),
    exitFile: asPath(object["exitFile"], `${what}.exitFile`),
    oomFiles: asList(object["oomFiles"], `${what}.oomFiles`, asPath),
  };
}

/** Container ids become file names: exactly what lib/id.ts generates. */
export function readId(object: JsonObject): string {
  const id = asString(object["container"], "container");
  if (!isId(id)) throw invalidArgument("container: not a container id");
  return id;
}

function readStatus(value: unknown, what: string): ExitStatus {
  const object = asObject(value, what);
  return object["signal"] === undefined
    ? { exitCode: asInteger(object["exitCode"], `${what}.exitCode`) }
    : { signal: asInteger(object["signal"], `${what}.signal`) };
}

export function asPath(value: unknown, what: string): string {
  const path = asString(value, what);
  if (!path.startsWith("/") || path.includes("\0") || path.length > 4095) {
    throw invalidArgument(`${what}: not an absolute path`);
  }
  return path;
}

function readUint16(value: unknown, what: string): number {
  const number = asInteger(value, what);
  if (number < 0 || number > 0xffff) throw invalidArgument(`${what}: not within 0 and 65535`);
  return number;
}
