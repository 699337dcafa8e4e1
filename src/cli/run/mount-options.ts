import { existsSync } from "node:fs";
import { isAbsolute, normalize, resolve } from "node:path";
import type { MessageInitShape } from "@bufbuild/protobuf";
import * as pb from "../../gen/runtime/v1/api_pb.ts";
import { notFound } from "../../lib/errors.ts";
import { UsageError } from "../failure.ts";
import { parseSize } from "./run-options.ts";

/** What is mounted into a container, as docker's --volume, --mount and --tmpfs say it. */
export type RunMount =
  | { readonly kind: "bind"; readonly mount: MessageInitShape<typeof pb.MountSchema> }
  | { readonly kind: "image"; readonly mount: MessageInitShape<typeof pb.MountSchema> }
  /** A named volume, which is made when it is not there. */
  | {
      readonly kind: "volume";
      readonly name: string;
      readonly mount: Omit<MessageInitShape<typeof pb.MountSchema>, "hostPath">;
      /** Filled with what the image has there, while it is empty. */
      readonly copies: boolean;
    }
  /** Goes with the container. */
  | { readonly kind: "anonymous"; readonly containerPath: string }
  | { readonly kind: "tmpfs"; readonly containerPath: string; readonly options: readonly string[] };

const { PROPAGATION_PRIVATE, PROPAGATION_HOST_TO_CONTAINER, PROPAGATION_BIDIRECTIONAL } =
  pb.MountPropagation;

const propagations: Readonly<Record<string, pb.MountPropagation>> = {
  private: PROPAGATION_PRIVATE,
  rprivate: PROPAGATION_PRIVATE,
  slave: PROPAGATION_HOST_TO_CONTAINER,
  rslave: PROPAGATION_HOST_TO_CONTAINER,
  shared: PROPAGATION_BIDIRECTIONAL,
  rshared: PROPAGATION_BIDIRECTIONAL,
};

const volumeName = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{1,127}$/;

/** Throws unless volumes may be called so: docker's rule. */
export function checkVolumeName(name: string): string {
  if (volumeName.test(name)) return name;
  throw new UsageError(
    `volume ${name}: not two letters, digits, "_", "." or "-" or more, a letter or digit first`,
  );
}

/** `/CONTAINER`, `HOST:CONTAINER[:OPTIONS]` or `NAME:CONTAINER[:OPTIONS]`; a HOST with a dot first is below the working directory. */
export function parseVolume(text: string): RunMount {
  const [source = "", containerPath, modes = "", ...more] = text.split(":");
  const wrong = () => new UsageError(`--volume ${text}: not [HOST|NAME:]/CONTAINER[:ro,...]`);
  if (containerPath === undefined) {
    if (!isAbsolute(source) || normalize(source) === "/") throw wrong();
    return { kind: "anonymous", containerPath: normalize(source) };
  }
  if (!isAbsolute(containerPath) || source === "" || more.length > 0) throw wrong();
  const { copies, ...options } = parseModes(text, modes);
  const mount = { containerPath: normalize(containerPath), ...options };
  if (isAbsolute(source) || /^\.{1,2}(\/|$)/.test(source)) {
    return { kind: "bind", mount: { hostPath: resolve(source), ...mount } };
  }
  if (!volumeName.test(source)) throw wrong();
  return { kind: "volume", name: source, mount, copies };
}

function parseModes(text: string, modes: string) {
  let readonly = false;
  let copies = true;
  let selinuxRelabel = false;
  let propagation: pb.MountPropagation = PROPAGATION_PRIVATE;
  for (const mode of modes === "" ? [] : modes.split(",")) {
    const known = Object.hasOwn(propagations, mode) ? propagations[mode] : undefined;
    if (known !== undefined) propagation = known;
    else if (mode === "ro") readonly = true;
    else if (mode === "nocopy") copies = false;
    else if (mode === "z" || mode === "Z") selinuxRelabel = true;
    else if (mode !== "rw") {
      throw new UsageError(
        `--volume ${text}: "${mode}" is none of ro, rw, nocopy, z, Z, ${Object.keys(propagations).join(", ")}`,
      );
    }
  }
  return { readonly, propagation, selinuxRelabel, copies };
}

const mountKeys = {
  type: "type",
  source: "source",
  src: "source",
  target: "target",
  destination: "target",
  dst: "target",
  readonly: "readonly",
  ro: "readonly",
  "bind-propagation": "propagation",
  "bind-recursive": "recursive",
  "volume-nocopy": "nocopy",
  "tmpfs-size": "size",
  "tmpfs-mode": "mode",
  "image-subpath": "subpath",
} as const;

type MountKey = (typeof mountKeys)[keyof typeof mountKeys];

/** `type=bind|volume|tmpfs|image,source=...,target=...,readonly`: comma-separated, as docker has it. */
export function parseMount(text: string): RunMount {
  const fail = (why: string) => new UsageError(`--mount ${text}: ${why}`);
  const given = new Map<MountKey, string>();
  for (const field of splitCsv(text)) {
    const [, name = "", value] = /^([^=]*)(?:=(.*))?$/s.exec(field) ?? [];
    const key = Object.hasOwn(mountKeys, name)
      ? mountKeys[name as keyof typeof mountKeys]
      : undefined;
    if (key === undefined) throw fail(`"${name}" is none of ${Object.keys(mountKeys).join(", ")}`);
    if (value === undefined && key !== "readonly" && key !== "nocopy") {
      throw fail(`${name} needs a value`);
    }
    given.set(key, value ?? "true");
  }
  const type = given.get("type") ?? "volume";
  const target = given.get("target") ?? "";
  if (!isAbsolute(target)) throw fail("target=/PATH is missing");
  const containerPath = normalize(target);
  const source = given.get("source") ?? "";
  const refuse = (...keys: readonly MountKey[]) => {
    const extra = keys.find((key) => given.has(key));
    if (extra !== undefined) throw fail(`${extra} is not of type ${type}`);
  };
  const readonly = isTrue(given.get("readonly"), fail);
  switch (type) {
    case "bind": {
      refuse("nocopy", "size", "mode", "subpath");
      if (source === "") throw fail("source=/PATH is missing");
      const hostPath = resolve(source);
      // Unlike --volume it makes no directory.
      if (!existsSync(hostPath)) throw notFound(`--mount ${text}: ${hostPath} is not there`);
      const recursive = given.get("recursive") ?? "enabled";
      if (!["enabled", "writable", "readonly"].includes(recursive)) {
        throw fail("bind-recursive is enabled, writable or readonly");
      }
      const propagation = propagationOf(given.get("propagation"), fail);
      const recursiveReadOnly = recursive === "readonly";
      return {
        kind: "bind",
        mount: { hostPath, containerPath, readonly, recursiveReadOnly, propagation },
      };
    }
    case "volume":
      refuse("propagation", "recursive", "size", "mode", "subpath");
      if (source === "") return { kind: "anonymous", containerPath };
      return {
        kind: "volume",
        name: checkVolumeName(source),
        mount: { containerPath, readonly, propagation: PROPAGATION_PRIVATE },
        copies: !isTrue(given.get("nocopy"), fail),
      };
    case "tmpfs": {
      refuse("source", "propagation", "recursive", "nocopy", "subpath");
      const size = given.get("size");
      const mode = given.get("mode") ?? "1777";
      if (!/^0?[0-7]{3,4}$/.test(mode)) throw fail(`tmpfs-mode ${mode}: not octal, as in 1770`);
      return {
        kind: "tmpfs",
        containerPath,
        options: [
          ...tmpfsDefaults,
          `mode=${mode.slice(-4)}`,
          ...(size === undefined ? [] : [`size=${parseSize("--mount tmpfs-size=", size)}`]),
          ...(readonly ? ["ro"] : []),
        ],
      };
    }
    case "image":
      refuse("propagation", "recursive", "nocopy", "size", "mode");
      if (source === "") throw fail("source=IMAGE is missing");
      return {
        kind: "image",
        mount: {
          containerPath,
          readonly: true,
          propagation: PROPAGATION_PRIVATE,
          image: { image: source, userSpecifiedImage: source },
          imageSubPath: given.get("subpath") ?? "",
        },
      };
    default:
      throw fail(`type ${type} is none of bind, volume, tmpfs, image`);
  }
}

function propagationOf(text: string | undefined, fail: (why: string) => UsageError) {
  if (text === undefined) return PROPAGATION_PRIVATE;
  const known = Object.hasOwn(propagations, text) ? propagations[text] : undefined;
  if (known === undefined) {
    throw fail(`bind-propagation ${text} is none of ${Object.keys(propagations).join(", ")}`);
  }
  return known;
}

function isTrue(text: string | undefined, fail: (why: string) => UsageError): boolean {
  if (text === undefined || text === "false" || text === "0") return false;
  if (text === "true" || text === "1") return true;
  throw fail(`"${text}" is neither true nor false`);
}

/** Fields with a comma are in double quotes, in which two are one. */
function splitCsv(text: string): readonly string[] {
  const fields: string[] = [];
  let field = "";
  let isQuoted = false;
  for (let i = 0; i < text.length; i++) {
    const char = text[i];
    if (char === '"' && isQuoted && text[i + 1] === '"') {
      field += '"';
      i++;
    } else if (char === '"') isQuoted = !isQuoted;
    else if (char === "," && !isQuoted) {
      fields.push(field);
      field = "";
    } else field += char;
  }
  return [...fields, field];
}

/** Docker's; each gives way to its opposite. */
const tmpfsDefaults = ["nosuid", "nodev", "noexec"] as const;
const tmpfsFlags = [
  "ro rw exec noexec suid nosuid dev nodev noatime relatime strictatime sync".split(" "),
].flat();

/** `/PATH[:OPTIONS]`, with the options of mount(8) for tmpfs. */
export function parseTmpfs(text: string): RunMount {
  const colon = text.indexOf(":");
  const path = colon < 0 ? text : text.slice(0, colon);
  const asked = colon < 0 ? [] : text.slice(colon + 1).split(",");
  if (!isAbsolute(path) || normalize(path) === "/") {
    throw new UsageError(`--tmpfs ${text}: not /PATH[:size=64m,mode=1777,...]`);
  }
  const options: string[] = asked.map((option) => {
    const [, name = "", value = ""] = /^(size|mode|uid|gid|nr_inodes)=(\w+%?)$/.exec(option) ?? [];
    if (name === "" && !tmpfsFlags.includes(option)) {
      throw new UsageError(
        `--tmpfs ${text}: "${option}" is none of size=, mode=, uid=, gid=, nr_inodes=, ${tmpfsFlags.join(", ")}`,
      );
    }
    if (name === "size" && !value.endsWith("%")) {
      return `size=${parseSize("--tmpfs size=", value)}`;
    }
    return option.toLowerCase();
  });
  const defaults = tmpfsDefaults.filter((flag) => !options.includes(flag.replace(/^no/, "")));
  const mode = options.some((option) => option.startsWith("mode=")) ? [] : ["mode=1777"];
  const containerPath = normalize(path);
  return { kind: "tmpfs", containerPath, options: [...defaults, ...mode, ...options] };
}
