import { create, toBinary } from "@bufbuild/protobuf";
import { type Any, AnySchema } from "@bufbuild/protobuf/wkt";
import { OptionsSchema as RuncOptionsSchema } from "../../gen/types/runc/options/oci_pb.ts";
import { OptionsSchema } from "../../gen/types/runtimeoptions/v1/api_pb.ts";
import { describe, invalidArgument } from "../../lib/errors.ts";
import { asBoolean, asObject, asString, type JsonObject, optional } from "../../lib/json.ts";

/** What is known of a shim beyond its API, by its program's name. */
export type ShimKind = "runc" | "runsc" | "other";

export function shimKindOf(path: string): ShimKind {
  const name = path.split("/").at(-1) ?? "";
  if (/^containerd-shim-runc-v\d+$/.test(name)) return "runc";
  return /^containerd-shim-runsc-v\d+$/.test(name) ? "runsc" : "other";
}

export interface ShimConfig {
  /** Of what the file is; empty: by the kind of the shim. */
  readonly typeUrl: string;
  /** A file for the runtime behind the shim; empty: there is none. */
  readonly path: string;
  /** Its text. */
  readonly text: string;
}

export interface RuncDefaults {
  readonly binary: string;
  readonly root: string;
  readonly systemdCgroup: boolean;
}

/** The options that go with the creation of a task, in the form that this shim reads. */
export function shimOptions(
  kind: ShimKind,
  config: ShimConfig,
  runc: RuncDefaults,
): Any | undefined {
  if (kind === "runc" && config.typeUrl === "") return runcOptions(parseToml(config.text), runc);
  if (config.path === "" && config.typeUrl === "") return undefined;
  const typeUrl = config.typeUrl === "" && kind === "runsc" ? runscType : config.typeUrl;
  const options = create(OptionsSchema, {
    typeUrl,
    configPath: config.path,
    configBody: Buffer.from(config.text),
  });
  return create(AnySchema, {
    typeUrl: OptionsSchema.typeName,
    value: toBinary(OptionsSchema, options),
  });
}

/** Throws `invalid-argument` where the text is none that this kind of shim can be given. */
export function checkShimConfig(kind: ShimKind, text: string): void {
  if (kind === "runc") runcOptions(parseToml(text), { binary: "", root: "", systemdCgroup: false });
}

const runscType = "io.containerd.runsc.v1.options";

/** containerd's own names of runc's options (`[plugins...runtimes.runc.options]`). */
function runcOptions(table: JsonObject, defaults: RuncDefaults): Any {
  const known = [
    "BinaryName",
    "Root",
    "SystemdCgroup",
    "NoPivotRoot",
    "NoNewKeyring",
    "ShimCgroup",
  ];
  const unknown = Object.keys(table).find((key) => !known.includes(key));
  if (unknown !== undefined) {
    throw invalidArgument(`config: ${unknown}: no option of runc's shim (${known.join(", ")})`);
  }
  const text = (key: string) => optional(table[key], `config: ${key}`, asString);
  const flag = (key: string) => optional(table[key], `config: ${key}`, asBoolean);
  const options = create(RuncOptionsSchema, {
    binaryName: text("BinaryName") ?? defaults.binary,
    root: text("Root") ?? defaults.root,
    systemdCgroup: flag("SystemdCgroup") ?? defaults.systemdCgroup,
    noPivotRoot: flag("NoPivotRoot") ?? false,
    noNewKeyring: flag("NoNewKeyring") ?? false,
    shimCgroup: text("ShimCgroup") ?? "",
  });
  return create(AnySchema, {
    typeUrl: RuncOptionsSchema.typeName,
    value: toBinary(RuncOptionsSchema, options),
  });
}

/** What crib itself has to know of gVisor's configuration. */
export interface RunscConfig {
  readonly binary: string;
  /** Where runsc keeps its state; the namespace's name is a directory in it. */
  readonly root: string;
  /** Without the flag gVisor does nothing with a container's filter. */
  readonly obeysSeccomp: boolean;
}

export function readRunscConfig(text: string): RunscConfig {
  const table = parseToml(text);
  const flags = optional(table["runsc_config"], "config: runsc_config", asObject) ?? {};
  return {
    binary: optional(table["binary_name"], "config: binary_name", asString) ?? "runsc",
    root: optional(table["root"], "config: root", asString) ?? "/run/containerd/runsc",
    obeysSeccomp: String(flags["oci-seccomp"]) === "true",
  };
}

function parseToml(text: string): JsonObject {
  try {
    return asObject(Bun.TOML.parse(text), "config");
  } catch (cause) {
    throw invalidArgument(`config: not valid TOML: ${describe(cause)}`);
  }
}
