import { isIP } from "node:net";
import { invalidArgument } from "../lib/errors.ts";

/** A range of addresses: `10.88.0.0/16`. */
export interface Cidr {
  readonly family: 4 | 6;
  readonly address: string;
  readonly prefix: number;
}

export function parseCidr(text: string): Cidr {
  const [address = "", digits = "", ...rest] = text.split("/");
  // A zone (`fe80::1%eth0`) names an interface of one machine: no address for others.
  const family = address.includes("%") ? 0 : isIP(address);
  const prefix = /^\d{1,3}$/.test(digits) ? Number(digits) : Number.NaN;
  if (rest.length > 0 || (family !== 4 && family !== 6) || !(prefix <= (family === 4 ? 32 : 128))) {
    throw invalidArgument(
      `${JSON.stringify(text.slice(0, 60))} is no address with a prefix length`,
    );
  }
  return { family, address, prefix };
}

export function formatCidr({ address, prefix }: Cidr): string {
  return `${address}/${prefix}`;
}

/** Whether two IPv4 ranges have an address in common. */
export function overlaps(a: Cidr, b: Cidr): boolean {
  const size = 2 ** (32 - Math.min(a.prefix, b.prefix));
  return Math.floor(ipv4(a.address) / size) === Math.floor(ipv4(b.address) / size);
}

function ipv4(address: string): number {
  return address.split(".").reduce((sum, byte) => sum * 256 + Number(byte), 0);
}
