import { accessSync, constants, statSync } from "node:fs";
import type { Context } from "../../lib/context.ts";
import { AppError, type ErrorKind, failedPrecondition } from "../../lib/errors.ts";
import {
  asInteger,
  asObject,
  asString,
  type JsonObject,
  optional,
  parseJson,
} from "../../lib/json.ts";
import { CommandError, runCommand } from "../../os/process/command.ts";
import { childEnv } from "../../os/process/role.ts";
import { maxResultBytes } from "./cni-result.ts";

export type CniCommand = "ADD" | "DEL" | "CHECK" | "STATUS" | "GC";

/** A plugin refused. `code` is the specification's (11: try again later, 100 and up: its own). */
class CniError extends AppError {
  override readonly name = "CniError";
  readonly code: number;

  constructor(message: string, code: number) {
    super(message, { kind: kinds[code] ?? "unavailable" });
    this.code = code;
  }
}

/** Codes that trying again does not help (CNI specification, section 5). The rest may pass. */
const kinds: Readonly<Partial<Record<number, ErrorKind>>> = {
  1: "failed-precondition",
  2: "failed-precondition",
  4: "failed-precondition",
  6: "failed-precondition",
  7: "failed-precondition",
};

export interface PluginCall {
  readonly command: CniCommand;
  readonly type: string;
  /** Where plugins are, first found first. */
  readonly pluginDirs: readonly string[];
  /** The `CNI_*` variables apart from CNI_COMMAND and CNI_PATH. */
  readonly env: Readonly<Record<string, string>>;
  readonly stdin: JsonObject;
  /** Beside the context's own end, which is the call's. */
  readonly timeoutMs?: number;
}

/** No call that a context bounds takes so long. */
const maxTimeoutMs = 600_000;

/** Runs one plugin once and returns what it printed. Nothing of our own environment reaches it. */
export async function callPlugin(ctx: Context, call: PluginCall): Promise<Buffer> {
  const path = findPlugin(call.type, call.pluginDirs);
  const { exitCode, stdout, stderr } = await runCommand(ctx, [path], {
    env: {
      ...childEnv,
      ...call.env,
      CNI_COMMAND: call.command,
      CNI_PATH: call.pluginDirs.join(":"),
    },
    stdin: JSON.stringify(call.stdin),
    timeoutMs: call.timeoutMs ?? maxTimeoutMs,
    endsWithUs: true,
    maxOutputBytes: maxResultBytes,
  });
  if (exitCode === 0) return stdout;
  throw (
    readError(`${call.type} ${call.command}`, stdout) ??
    new CommandError(
      [path, call.command],
      exitCode,
      stderr || stdout.toString().slice(-2048),
      "unavailable",
    )
  );
}

/** The error object that a failed plugin prints (section 5, "Error"). */
function readError(what: string, stdout: Buffer): CniError | undefined {
  try {
    const error = asObject(parseJson(stdout, what, { maxBytes: maxResultBytes }), what);
    const code = optional(error["code"], "code", asInteger) ?? 0;
    const message = asString(error["msg"], "msg");
    const details = optional(error["details"], "details", asString) ?? "";
    return new CniError(`${what}: ${message}${details === "" ? "" : `; ${details}`}`, code);
  } catch {
    return undefined;
  }
}

/** A program of that name that root (or we) own and that nobody else may write. */
export function findPlugin(type: string, dirs: readonly string[]): string {
  for (const dir of dirs) {
    const path = `${dir}/${type}`;
    const info = statSync(path, { throwIfNoEntry: false });
    if (info === undefined || !info.isFile() || !isExecutable(path)) continue;
    const isOurs = info.uid === 0 || info.uid === process.getuid?.();
    if (!isOurs || (info.mode & 0o002) !== 0) {
      throw failedPrecondition(`CNI plugin ${path}: others than root may change it`);
    }
    return path;
  }
  throw failedPrecondition(`CNI plugin ${type} is in none of ${dirs.join(", ")}`);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
