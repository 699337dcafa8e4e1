import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { failedPrecondition } from "../../lib/errors.ts";
import { isErrno } from "../../os/errno-error.ts";
import { clearInterfaceFlags, IFF_UP, removeBridge } from "../../os/socket/interface.ts";

/** Small and out of the way; 198.18/15 is for tests by RFC 2544. */
const candidates = ["198.18.213.0", "198.19.213.0", "172.30.213.0", "192.168.213.0"];
const netmask = 0xffff_ff00;

/**
 * A bridge of the demo's own: crib's embedded network may be in use on this node. It has no way out and needs no
 * netfilter rules, so that removing the bridge leaves nothing. Dispose once no pod is on it.
 */
export function prepareDemoNetwork(confDir: string, bridge: string, dataDir: string): Disposable {
  mkdirSync(confDir, { recursive: true, mode: 0o700 });
  const ipam = { type: "host-local", dataDir, ranges: [[{ subnet: chooseSubnet() }]] };
  const plugin = { type: "bridge", bridge, isGateway: true, ipMasq: false, ipam };
  const conflist = { cniVersion: "1.0.0", name: "crib-demo", plugins: [plugin] };
  writeFileSync(`${confDir}/10-demo.conflist`, JSON.stringify(conflist));
  return {
    [Symbol.dispose]() {
      try {
        clearInterfaceFlags(bridge, IFF_UP);
        removeBridge(bridge);
      } catch (err) {
        // It was never made: the demo failed before.
        if (!isErrno(err, "ENODEV") && !isErrno(err, "ENXIO")) throw err;
      }
    },
  };
}

function chooseSubnet(): string {
  const routes = parseRoutes(readFileSync("/proc/net/route", "latin1"));
  const free = candidates.find((candidate) => {
    const address = addressOf(candidate);
    return !routes.some(({ destination, mask }) => {
      const both = (mask & netmask) >>> 0;
      return mask !== 0 && (address & both) >>> 0 === (destination & both) >>> 0;
    });
  });
  if (free === undefined) throw failedPrecondition("no free range of addresses for the demo");
  return `${free}/24`;
}

interface Route {
  readonly destination: number;
  readonly mask: number;
}

/** The rows of /proc/net/route: addresses in hexadecimal, in network byte order as the host reads it. */
function parseRoutes(text: string): readonly Route[] {
  const rows = text.trim().split("\n").slice(1);
  return rows.map((row) => {
    const columns = row.split("\t");
    return { destination: hexAddress(columns[1]), mask: hexAddress(columns[7]) };
  });
}

function hexAddress(hex = ""): number {
  const bytes = Buffer.from(hex.padStart(8, "0"), "hex");
  return bytes.reverse().readUInt32BE();
}

function addressOf(dotted: string): number {
  return Buffer.from(dotted.split(".").map(Number)).readUInt32BE();
}
