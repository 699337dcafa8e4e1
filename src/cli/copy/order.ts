/** The instructions of the transfer role, as JSON in its only argument. Descriptor 3 is the root that it stays below. */
export type TransferOrder =
  /** Reports a `Found` on stdout. Links are followed to the end unless `follow` is false. */
  | { readonly op: "stat"; readonly path: string; readonly follow: boolean }
  /** Writes a tar stream to stdout in which what is at `path` is called `name`. */
  | {
      readonly op: "pack";
      readonly path: string;
      readonly name: string;
      readonly follow: boolean;
      readonly ids?: IdMaps | undefined;
    }
  /** Unpacks a tar stream from stdin into `directory`. */
  | {
      readonly op: "unpack";
      readonly directory: string;
      /** The archive's owners count; else everything is root's. */
      readonly keepsOwners: boolean;
      readonly ids?: IdMaps | undefined;
    };

/** Of a user namespace (user_namespaces(7)): ids inside are `inside` + n, on the node `outside` + n. */
export interface IdMaps {
  readonly uids: readonly IdMapping[];
  readonly gids: readonly IdMapping[];
}

export interface IdMapping {
  readonly inside: number;
  readonly outside: number;
  readonly length: number;
}

/** The lines of /proc/PID/uid_map. */
export function parseIdMap(text: string): readonly IdMapping[] {
  return text
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line) => {
      const [inside = 0, outside = 0, length = 0] = line.trim().split(/\s+/).map(Number);
      return { inside, outside, length };
    });
}

const nobody = 65_534;

/** As the container sees it. */
export function idInside(ranges: readonly IdMapping[] | undefined, id: number): number {
  if (ranges === undefined) return id;
  const range = ranges.find(({ outside, length }) => id >= outside && id < outside + length);
  return range === undefined ? nobody : range.inside + id - range.outside;
}

/** On the node. An id that the container does not have becomes its root's. */
export function idOutside(ranges: readonly IdMapping[] | undefined, id: number): number {
  if (ranges === undefined) return id;
  const range = ranges.find(({ inside, length }) => id >= inside && id < inside + length);
  return range === undefined ? (ranges[0]?.outside ?? 0) : range.outside + id - range.inside;
}
