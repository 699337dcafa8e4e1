import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { isIPv4 } from "node:net";
import { AppError } from "../lib/errors.ts";

/** A port of the node that a pod wants, or has. */
export interface HostPort {
  readonly protocol: "tcp" | "udp" | "sctp";
  readonly port: number;
  /** "" is every address of the node. */
  readonly address: string;
}

export interface PortHolder extends HostPort {
  /** As a message calls it: `pod web`, `process nginx (pid 812)`. */
  readonly name: () => string;
}

/** Throws `already-exists` with the holder's name where one of the ports is taken. */
export function refuseTakenPorts(
  wanted: readonly HostPort[],
  holders: readonly PortHolder[],
): void {
  for (const [i, port] of wanted.entries()) {
    if (wanted.slice(0, i).some((other) => overlap(port, other))) throw taken(port, "this pod too");
    const holder = holders.find((other) => overlap(port, other));
    if (holder !== undefined) throw taken(port, holder.name());
  }
}

function taken({ protocol, port, address }: HostPort, by: string): AppError {
  const where = address === "" ? "" : ` of ${address}`;
  return new AppError(`port ${port}/${protocol}${where} is taken by ${by}`, {
    kind: "already-exists",
  });
}

/** As bind(2) has it: an address that is every one goes with no other. */
function overlap(a: HostPort, b: HostPort): boolean {
  if (a.protocol !== b.protocol || a.port !== b.port) return false;
  const [one, other] = [canonical(a.address), canonical(b.address)];
  return one === every || other === every || one === other;
}

const every = "";

function canonical(address: string): string {
  if (address === "" || address === "0.0.0.0") return every;
  if (isIPv4(address)) return address;
  const { hostname } = new URL(`http://[${address}]`);
  const text = hostname.slice(1, -1);
  const mapped = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(text);
  if (text === "::") return every;
  if (mapped === null) return text;
  const bits = (Number.parseInt(mapped[1] ?? "", 16) << 16) | Number.parseInt(mapped[2] ?? "", 16);
  return [24, 16, 8, 0].map((shift) => (bits >>> shift) & 0xff).join(".");
}

/** proc_net_tcp(5): TCP that listens, UDP that is bound to no peer. */
const states = { tcp: "0A", udp: "07" } as const;

/** The ports that processes in this network namespace, the node's, have opened. */
export function listeningPorts(proc = "/proc"): readonly PortHolder[] {
  return (["tcp", "udp"] as const).flatMap((protocol) =>
    [protocol, `${protocol}6`].flatMap((table) =>
      readTable(`${proc}/net/${table}`)
        .filter((fields) => fields[3] === states[protocol])
        .map((fields) => {
          const [address = "", port = ""] = (fields[1] ?? "").split(":");
          return {
            protocol,
            port: Number.parseInt(port, 16),
            address: decodeAddress(address),
            name: () => nameOfOwner(fields[9] ?? "", proc),
          };
        }),
    ),
  );
}

function readTable(path: string): readonly (readonly string[])[] {
  let text: string;
  try {
    text = readFileSync(path, "latin1");
  } catch {
    return []; // a kernel without IPv6
  }
  const [, ...lines] = text.trimEnd().split("\n");
  return lines.map((line) => line.trim().split(/\s+/));
}

/** Words of 32 bits, each in the byte order of this processor, which is little-endian. */
function decodeAddress(hex: string): string {
  const bytes = (hex.match(/.{8}/g) ?? []).flatMap((word) => [
    ...Buffer.from(word, "hex").reverse(),
  ]);
  if (bytes.length === 4) return bytes.join(".");
  const groups = Array.from({ length: 8 }, (_, i) => {
    return (((bytes[2 * i] ?? 0) << 8) | (bytes[2 * i + 1] ?? 0)).toString(16);
  });
  return groups.join(":");
}

/** Looks through the descriptors of all processes: only for a message. */
function nameOfOwner(inode: string, proc: string): string {
  const link = `socket:[${inode}]`;
  for (const pid of readdirSync(proc).filter((name) => /^\d+$/.test(name))) {
    try {
      for (const fd of readdirSync(`${proc}/${pid}/fd`)) {
        if (readlinkSync(`${proc}/${pid}/fd/${fd}`) !== link) continue;
        const comm = readFileSync(`${proc}/${pid}/comm`, "utf8").trimEnd();
        return `process ${comm} (pid ${pid})`;
      }
    } catch {
      // It has ended meanwhile, or is not ours to look into.
    }
  }
  return "a process of this node";
}
