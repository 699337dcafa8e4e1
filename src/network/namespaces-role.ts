import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { AppError, describe, invalidArgument, kindOf } from "../lib/errors.ts";
import { asArray, asObject, asString, optional, parseJson } from "../lib/json.ts";
import { isErrno } from "../os/errno-error.ts";
import { IFF_UP, setInterfaceFlags } from "../os/interface-flags.ts";
import { MS_BIND, mount } from "../os/mount.ts";
import {
  CLONE_NEWIPC,
  CLONE_NEWNET,
  CLONE_NEWUTS,
  setHostName,
  unshare,
} from "../os/namespaces.ts";
import {
  defaultNetSysctls,
  type NamespaceKind,
  namespaceKinds,
  parseSysctls,
  type Sysctl,
} from "./sysctl.ts";

const cloneFlags = {
  net: CLONE_NEWNET,
  ipc: CLONE_NEWIPC,
  uts: CLONE_NEWUTS,
} as const satisfies Record<NamespaceKind, number>;

/**
 * The role `crib namespaces`: reads one request (JSON, as `pinNamespaces` writes it) from stdin, makes, sets up and pins the
 * namespaces. Answers the exit code; a failure is `{kind, message}` on stdout. Everything here is synchronous, hence on one thread.
 */
export function runNamespaces(_argv: readonly string[]): number {
  try {
    const request = readRequest(readFileSync(0));
    unshare(request.kinds.reduce((flags, kind) => flags | cloneFlags[kind], 0));
    setUp(request);
    pin(request.dir, request.kinds);
    return 0;
  } catch (err) {
    writeFileSync(1, JSON.stringify({ kind: kindOf(err), message: describe(err) }));
    return 1;
  }
}

interface Request {
  readonly dir: string;
  readonly kinds: readonly NamespaceKind[];
  readonly hostname: string | undefined;
  readonly sysctls: readonly Sysctl[];
}

function readRequest(input: Uint8Array): Request {
  const json = asObject(parseJson(input, "request", { maxBytes: 1 << 20 }), "request");
  const kinds = asArray(json["kinds"], "kinds").map((kind) => {
    const known = namespaceKinds.find((name) => name === kind);
    if (known === undefined) throw invalidArgument(`unknown namespace ${JSON.stringify(kind)}`);
    return known;
  });
  const sysctls = Object.fromEntries(
    asArray(json["sysctls"], "sysctls").map((entry, i) => {
      const sysctl = asObject(entry, `sysctls[${i}]`);
      return [asString(sysctl["key"], "key"), asString(sysctl["value"], "value")];
    }),
  );
  return {
    dir: asString(json["dir"], "dir"),
    kinds,
    hostname: optional(json["hostname"], "hostname", asString),
    sysctls: parseSysctls(sysctls, kinds),
  };
}

function setUp({ kinds, hostname, sysctls }: Request): void {
  if (kinds.includes("net")) {
    setInterfaceFlags("lo", IFF_UP);
    for (const sysctl of parseSysctls(defaultNetSysctls, ["net"])) {
      try {
        writeSysctl(sysctl);
      } catch (err) {
        if (!isErrno(err, "ENOENT")) throw err;
      }
    }
  }
  if (kinds.includes("uts") && hostname !== undefined && hostname !== "") setHostName(hostname);
  for (const sysctl of sysctls) {
    try {
      writeSysctl(sysctl);
    } catch (cause) {
      const what = isErrno(cause, "ENOENT") ? "this kernel has no such sysctl" : "set it";
      throw new AppError(`sysctl ${sysctl.key}: ${what}`, { kind: "invalid-argument", cause });
    }
  }
}

/** `/proc/sys` shows the namespaces of the thread that looks. */
function writeSysctl({ path, value }: Sysctl): void {
  // "r+": never creates a file, and procfs takes the value in one write.
  writeFileSync(`/proc/sys/${path}`, value, { flag: "r+" });
}

function pin(dir: string, kinds: readonly NamespaceKind[]): void {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  for (const kind of kinds) {
    const target = `${dir}/${kind}`;
    closeSync(openSync(target, "wx", 0o400));
    mount(`/proc/thread-self/ns/${kind}`, target, "", MS_BIND);
  }
}
