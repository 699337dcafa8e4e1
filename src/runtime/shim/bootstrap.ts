import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { Any } from "@bufbuild/protobuf/wkt";
import {
  BootstrapParamsSchema,
  BootstrapResultSchema,
  LogLevel,
} from "../../gen/runtime/bootstrap/v1/bootstrap_pb.ts";
import { AppError, invalidArgument } from "../../lib/errors.ts";
import { asInteger, asObject, asString, parseJson } from "../../lib/json.ts";

/** Where a shim listens, and which version of the task service it has. */
export interface ShimAddress {
  readonly version: 2 | 3;
  /** Of a Unix socket. */
  readonly path: string;
}

/** Whose API this is: shims do not look at it so far. */
const containerdVersion = "2.4.2";
const maxBytes = 64 * 1024;
const maxPathBytes = 107;

export interface BootstrapOptions {
  readonly id: string;
  readonly namespace: string;
  readonly address: string;
  readonly ttrpcAddress: string;
  readonly binary: string;
  readonly socketDir: string | undefined;
  readonly options: Any | undefined;
}

/** What a shim of containerd 2.3 or newer reads from its stdin (runtime/bootstrap/v1). Older ones do not look. */
export function encodeBootstrap(from: BootstrapOptions): Uint8Array {
  return toBinary(
    BootstrapParamsSchema,
    create(BootstrapParamsSchema, {
      instanceId: from.id,
      namespace: from.namespace,
      logLevel: LogLevel.INFO,
      containerdVersion,
      containerdTtrpcAddress: from.ttrpcAddress,
      containerdGrpcAddress: from.address,
      containerdBinary: from.binary,
      extensions: from.options === undefined ? [] : [{ value: from.options }],
      ...(from.socketDir === undefined ? {} : { socketDir: from.socketDir }),
    }),
  );
}

/**
 * What a shim's `start` printed: a protobuf message (containerd 2.3), a JSON object, or the address alone, which means
 * version 2. `invalid-argument` for anything else, and for what crib does not speak.
 */
export function parseBootstrap(output: Uint8Array): ShimAddress {
  if (output.byteLength > maxBytes) throw nonsense(output);
  const { version, address, protocol } =
    asMessage(output) ?? asJsonObject(output) ?? asAddress(output);
  if (protocol !== "ttrpc") {
    throw new AppError(`the shim speaks ${JSON.stringify(protocol.slice(0, 40))}, not ttrpc`, {
      kind: "unimplemented",
    });
  }
  if (version !== 2 && version !== 3) {
    throw new AppError(`the shim has version ${version} of its API, not 2 or 3`, {
      kind: "unimplemented",
    });
  }
  return { version, path: socketPath(address) };
}

interface Bootstrap {
  readonly version: number;
  readonly address: string;
  readonly protocol: string;
}

/** An address or JSON may parse as a message by chance, but not as one that says something. */
function asMessage(output: Uint8Array): Bootstrap | undefined {
  try {
    const { version, address, protocol } = fromBinary(BootstrapResultSchema, output);
    return address === "" || protocol === "" ? undefined : { version, address, protocol };
  } catch {
    return undefined;
  }
}

function asJsonObject(output: Uint8Array): Bootstrap | undefined {
  const text = Buffer.from(output).toString("utf8").trim();
  if (!text.startsWith("{")) return undefined;
  const what = "what the shim's start printed";
  const object = asObject(parseJson(text, what, { maxBytes }), what);
  return {
    version: asInteger(object["version"], `${what}: version`),
    address: asString(object["address"], `${what}: address`),
    protocol: asString(object["protocol"] ?? "ttrpc", `${what}: protocol`),
  };
}

function asAddress(output: Uint8Array): Bootstrap {
  const address = Buffer.from(output).toString("utf8").trim();
  if (address === "") throw invalidArgument("the shim's start printed nothing, not its address");
  if (!/^[\x21-\x7e]+$/.test(address)) throw nonsense(output);
  return { version: 2, address, protocol: "ttrpc" };
}

function socketPath(address: string): string {
  const path = address.startsWith("unix://") ? address.slice("unix://".length) : address;
  const isPath = path.startsWith("/") && !path.split("/").includes("..");
  if (isPath && Buffer.byteLength(path) <= maxPathBytes) return path;
  const shown = JSON.stringify(address.slice(0, 200));
  throw invalidArgument(`the shim's address ${shown} is no Unix socket's`);
}

function nonsense(output: Uint8Array): AppError {
  const start = JSON.stringify(Buffer.from(output.subarray(0, 60)).toString("latin1"));
  return invalidArgument(`the shim's start printed no address but ${start}`);
}
