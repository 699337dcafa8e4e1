import type { Cidr } from "../cidr.ts";

/** An IPv4 route of the node. */
export interface Route {
  readonly interface: string;
  readonly destination: Cidr;
}

/** Parses `/proc/net/route`: hexadecimal words in the machine's order, which is little-endian wherever we run. */
export function parseRoutes(text: string): readonly Route[] {
  return text
    .split("\n")
    .slice(1)
    .flatMap((line) => {
      const fields = line.trim().split(/\s+/);
      const [name = "", destination = "", , , , , , mask = ""] = fields;
      if (!/^[0-9A-F]{8}$/i.test(destination) || !/^[0-9A-F]{8}$/i.test(mask)) return [];
      return [
        {
          interface: name,
          destination: { family: 4, address: dotted(destination), prefix: ones(mask) },
        },
      ];
    });
}

function dotted(word: string): string {
  return [6, 4, 2, 0].map((at) => Number.parseInt(word.slice(at, at + 2), 16)).join(".");
}

function ones(word: string): number {
  return Number.parseInt(word, 16).toString(2).replaceAll("0", "").length;
}
