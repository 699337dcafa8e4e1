import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { AppError, describe, invalidArgument, kindOf } from "../lib/errors.ts";
import { asArray, asInteger, asObject, asString, optional, parseJson } from "../lib/json.ts";
import type { IdRange } from "../oci/pod-ids.ts";
import { setEffectiveUser } from "../os/effective-user.ts";
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
import {
  enterNamespaceOf,
  makeUserNamespace,
  type NamespaceHolder,
  type UserNamespaceRequest,
} from "./user-namespace.ts";

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
    using holder = makeNamespaces(request);
    setUp(request);
    pin(request.dir, request.kinds, "/proc/thread-self/ns");
    if (holder !== undefined) pin(request.dir, ["user"], `/proc/${holder.pid}/ns`);
    return 0;
  } catch (err) {
    writeFileSync(1, JSON.stringify({ kind: kindOf(err), message: describe(err) }));
    return 1;
  }
}

/** The calling thread is in them afterwards, but for a new user namespace: that one has a holder. */
function makeNamespaces({ kinds, userNamespace }: Request): NamespaceHolder | undefined {
  const flags = kinds.reduce((all, kind) => all | cloneFlags[kind], 0);
  if (userNamespace === undefined) {
    unshare(flags);
    return undefined;
  }
  using undo = new DisposableStack();
  const holder = undo.use(makeUserNamespace(userNamespace, flags));
  for (const kind of kinds) enterNamespaceOf(holder, kind, cloneFlags[kind]);
  undo.move();
  return holder;
}

interface Request {
  readonly userNamespace: UserNamespaceRequest | undefined;
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
    userNamespace: optional(json["userNamespace"], "userNamespace", readUserNamespace),
  };
}

function readUserNamespace(value: unknown, what: string): UserNamespaceRequest {
  const request = asObject(value, what);
  const ids = asObject(request["ids"], `${what}.ids`);
  return {
    program: asString(request["program"], `${what}.program`),
    ids: { uids: readRange(ids["uids"], "uids"), gids: readRange(ids["gids"], "gids") },
  };
}

function readRange(value: unknown, what: string): IdRange {
  const range = asObject(value, what);
  return {
    hostId: asInteger(range["hostId"], `${what}.hostId`),
    length: asInteger(range["length"], `${what}.length`),
  };
}

function setUp({ kinds, hostname, sysctls, userNamespace }: Request): void {
  const root = userNamespace?.ids.uids.hostId ?? 0;
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
      // Those of an IPC namespace can be written by its root alone, whatever capabilities anybody else has.
      if (sysctl.kind === "ipc") asUser(root, () => writeSysctl(sysctl));
      else writeSysctl(sysctl);
    } catch (cause) {
      const what = isErrno(cause, "ENOENT") ? "this kernel has no such sysctl" : "set it";
      throw new AppError(`sysctl ${sysctl.key}: ${what}`, { kind: "invalid-argument", cause });
    }
  }
}

function asUser(uid: number, act: () => void): void {
  setEffectiveUser(uid);
  try {
    act();
  } finally {
    setEffectiveUser(0);
  }
}

/** `/proc/sys` shows the namespaces of the thread that looks. */
function writeSysctl({ path, value }: Sysctl): void {
  // "r+": never creates a file, and procfs takes the value in one write.
  writeFileSync(`/proc/sys/${path}`, value, { flag: "r+" });
}

function pin(dir: string, kinds: readonly (NamespaceKind | "user")[], from: string): void {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  for (const kind of kinds) {
    const target = `${dir}/${kind}`;
    closeSync(openSync(target, "wx", 0o400));
    mount(`${from}/${kind}`, target, "", MS_BIND);
  }
}
