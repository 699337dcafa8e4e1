import type { ContainerExtras, RlimitName } from "../container/extras.ts";
import { asInteger, asList, asObject, asString, optional } from "../lib/json.ts";
import type { SandboxExtras } from "../sandbox/sandbox.ts";
import { asOneOf, asSandboxId } from "./readers.ts";

const rlimitNames: readonly RlimitName[] = [
  ...(["as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice"] as const),
  ...(["nofile", "nproc", "rss", "rtprio", "rttime", "sigpending", "stack"] as const),
];

export function asContainerExtras(value: unknown, what: string): ContainerExtras {
  const extras = asObject(value, what);
  return {
    rlimits: asList(extras["rlimits"], `${what}.rlimits`, asRlimit),
    tmpfs: asList(extras["tmpfs"], `${what}.tmpfs`, (one, at) => {
      const tmpfs = asObject(one, at);
      return {
        destination: asString(tmpfs["destination"], `${at}.destination`),
        options: asList(tmpfs["options"], `${at}.options`, asString),
      };
    }),
    volumes: asList(extras["volumes"], `${what}.volumes`, asString),
    fills: asList(extras["fills"], `${what}.fills`, (one, at) => {
      const fill = asObject(one, at);
      return {
        source: asString(fill["source"], `${at}.source`),
        destination: asString(fill["destination"], `${at}.destination`),
      };
    }),
    shmSizeBytes: optional(extras["shmSizeBytes"], `${what}.shmSizeBytes`, asInteger),
    pidsLimit: optional(extras["pidsLimit"], `${what}.pidsLimit`, asInteger),
  };
}

function asRlimit(value: unknown, what: string) {
  const rlimit = asObject(value, what);
  return {
    name: asOneOf(rlimit["name"], `${what}.name`, rlimitNames),
    soft: asInteger(rlimit["soft"], `${what}.soft`),
    hard: asInteger(rlimit["hard"], `${what}.hard`),
  };
}

export function asSandboxExtras(value: unknown, what: string): SandboxExtras {
  const extras = asObject(value, what);
  return {
    hostAliases: asList(extras["hostAliases"], `${what}.hostAliases`, (one, at) => {
      const alias = asObject(one, at);
      return { ip: asString(alias["ip"], `${at}.ip`), name: asString(alias["name"], `${at}.name`) };
    }),
    network: optional(extras["network"], `${what}.network`, (network, at) =>
      network === "none" ? "none" : { of: asSandboxId(asObject(network, at)["of"], `${at}.of`) },
    ),
  };
}
