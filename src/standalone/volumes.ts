import { randomUUID } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
} from "node:fs";
import type { Container } from "../container/container.ts";
import { writeFileAtomically } from "../lib/atomic-file.ts";
import { AppError, failedPrecondition, invalidArgument, notFound } from "../lib/errors.ts";
import { asObject, asString, parseJson } from "../lib/json.ts";

/** A directory of the node with a name, for any number of standalone pods, which outlives all of them. */
export interface NamedVolume {
  readonly name: string;
  /** Of its files. */
  readonly path: string;
  readonly createdAt: Date;
  readonly labels: Readonly<Record<string, string>>;
}

const nameForm = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{1,127}$/;
const recordName = "volume.json";
const maxRecordBytes = 256 * 1024;
/** Cannot be a volume's name. */
const removedPrefix = ".removed-";

/**
 * The named volumes of this node: a directory each, whose record says that it is complete. What cannot be read is left
 * alone and is no volume.
 */
export class NamedVolumes {
  readonly #directory: string;
  /** Those of pods that are being made, of which no container says so yet. */
  readonly #claims = new Map<string, number>();

  constructor(directory: string) {
    this.#directory = directory;
    if (!existsSync(directory)) return;
    for (const entry of readdirSync(directory, { withFileTypes: true })) {
      const { name } = entry;
      const path = `${directory}/${name}`;
      // What a removal, or a creation, was cut off in.
      if (name.startsWith(removedPrefix)) rmSync(path, { recursive: true, force: true });
      else if (entry.isDirectory() && nameForm.test(name)) removeIfEmpty(path);
    }
  }

  list(): readonly NamedVolume[] {
    if (!existsSync(this.#directory)) return [];
    return readdirSync(this.#directory)
      .sort()
      .flatMap((name) => this.#read(name) ?? []);
  }

  find(name: string): NamedVolume | undefined {
    return this.#read(checkName(name));
  }

  /** The one of this name, made if it is not there. It is on the disk when this returns. */
  create(name: string, labels: Readonly<Record<string, string>> = {}): NamedVolume {
    const known = this.find(name);
    if (known !== undefined) return known;
    const path = `${this.#directory}/${name}`;
    // Nobody but root looks into it: containers get what is in `data`.
    mkdirSync(`${path}/data`, { recursive: true, mode: 0o755 });
    const record = { createdAt: new Date().toISOString(), labels };
    writeFileAtomically(`${path}/${recordName}`, JSON.stringify(record));
    const made = this.find(name);
    if (made === undefined) throw new AppError(`create volume ${name}`, { kind: "internal" });
    return made;
  }

  /** Keeps it from being removed until disposed. */
  claim(name: string): Disposable {
    this.#claims.set(name, (this.#claims.get(name) ?? 0) + 1);
    return {
      [Symbol.dispose]: () => {
        const others = (this.#claims.get(name) ?? 1) - 1;
        if (others === 0) this.#claims.delete(name);
        else this.#claims.set(name, others);
      },
    };
  }

  /** Throws `not-found`, and `failed-precondition` while a container has it, running or not. */
  remove(name: string, containers: readonly Container[]): void {
    const volume = this.find(name);
    if (volume === undefined) throw notFound(`no volume "${name}"`);
    const user = usersOf(volume, containers)[0];
    if (user !== undefined || this.#claims.has(name)) {
      const by = user === undefined ? "a pod that is starting" : `container ${nameOf(user)}`;
      throw failedPrecondition(`volume "${name}" is used by ${by}`);
    }
    const removed = `${this.#directory}/${removedPrefix}${randomUUID()}`;
    renameSync(`${this.#directory}/${name}`, removed);
    rmSync(removed, { recursive: true, force: true });
  }

  #read(name: string): NamedVolume | undefined {
    if (!nameForm.test(name)) return undefined;
    const path = `${this.#directory}/${name}`;
    try {
      const text = readFileSync(`${path}/${recordName}`, "utf8");
      const record = asObject(parseJson(text, "volume", { maxBytes: maxRecordBytes }), "volume");
      const labels = Object.entries(asObject(record["labels"], "labels"));
      return {
        name,
        path: `${path}/data`,
        createdAt: new Date(asString(record["createdAt"], "createdAt")),
        labels: Object.fromEntries(labels.map(([key, value]) => [key, asString(value, key)])),
      };
    } catch {
      return undefined;
    }
  }
}

/** Not what is mounted there: the kernel refuses that. */
function removeIfEmpty(path: string): void {
  try {
    rmdirSync(path);
  } catch {
    // It has something in it, or stays for another reason.
  }
}

function checkName(name: string): string {
  if (nameForm.test(name)) return name;
  throw invalidArgument(`volume ${JSON.stringify(name.slice(0, 130))}: not a volume's name`);
}

/** The containers that have it mounted, or will have when they run. */
export function usersOf(
  { path }: Pick<NamedVolume, "path">,
  containers: readonly Container[],
): readonly Container[] {
  return containers.filter(({ config }) => config.mounts.some(({ hostPath }) => hostPath === path));
}

export function nameOf({ config, id }: Container): string {
  return config.metadata?.name ?? id;
}
