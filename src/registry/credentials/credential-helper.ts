import { accessSync, constants } from "node:fs";
import { join } from "node:path";
import type { Context } from "../../lib/context.ts";
import { AppError, failedPrecondition } from "../../lib/errors.ts";
import { asObject, asString, parseJson } from "../../lib/json.ts";
import { runCommand } from "../../os/process/command.ts";
import { childEnv } from "../../os/process/role.ts";
import type { Credentials } from "../credentials.ts";

const timeoutMs = 10_000;
const maxOutputBytes = 64 << 10;
const helperName = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
/** What such a program says instead of a name when it gives an identity token. */
const tokenUser = "<token>";
const dockerHubServer = "https://index.docker.io/v1/";

/**
 * Asks `docker-credential-<helper>` for what it has for a host (docker-credential-helpers' protocol). Undefined when it
 * has nothing. Its output is never repeated: there may be a password in it.
 */
export async function askHelper(
  ctx: Context,
  helper: string,
  host: string,
  searchPath: string = childEnv["PATH"] ?? "",
): Promise<Credentials | undefined> {
  const step = `credential helper ${JSON.stringify(helper.slice(0, 64))}`;
  if (!helperName.test(helper)) throw failedPrecondition(`${step}: not a name`);
  const program = findProgram(`docker-credential-${helper}`, searchPath);
  if (program === undefined)
    throw failedPrecondition(`${step}: docker-credential-${helper} is not in PATH`);
  const { exitCode, stdout } = await runCommand(ctx, [program, "get"], {
    env: { ...childEnv, HOME: "/root" },
    stdin: host === "docker.io" ? dockerHubServer : host,
    timeoutMs,
    maxOutputBytes,
  }).catch((cause: unknown) => {
    ctx.signal.throwIfAborted();
    throw new AppError(step, { kind: "unavailable", cause });
  });
  if (exitCode !== 0) {
    if (stdout.toString().includes("credentials not found")) return undefined;
    throw new AppError(`${step}: exit code ${exitCode}`, { kind: "unauthenticated" });
  }
  return parseResponse(stdout, step);
}

function parseResponse(stdout: Uint8Array, step: string): Credentials {
  try {
    const response = asObject(parseJson(stdout, step, { maxBytes: maxOutputBytes }), step);
    const username = asString(response["Username"], "Username");
    const secret = asString(response["Secret"], "Secret");
    return username === tokenUser ? { identityToken: secret } : { username, password: secret };
  } catch {
    // biome-ignore lint/style/useErrorCause: it may show what the helper wrote
    throw failedPrecondition(`${step}: not the output of a credential helper`);
  }
}

function findProgram(name: string, searchPath: string): string | undefined {
  for (const dir of searchPath.split(":")) {
    const path = join(dir, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not there.
    }
  }
  return undefined;
}
