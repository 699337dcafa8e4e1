import { mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { ContentStore } from "../content/store.ts";
import { removeUnfinished, writeFileAtomically } from "../lib/atomic-file.ts";
import { AppError, describe } from "../lib/errors.ts";
import { asList, asObject, asString, parseJson } from "../lib/json.ts";
import type { Log } from "../lib/log.ts";
import { type Digest, digestHex, digestOf, isDigest, parseDigest } from "../oci/digest.ts";
import type { ProfileName, SecurityProfile } from "./profile.ts";

const maxProfiles = 10_000;
/** Names that one profile remembers; who pulled it by an older one pulls it once more. */
const maxNames = 1000;
/** Its bytes and its record. */
const filesOfProfile = 2;
const maxRecordBytes = 4 << 20;
const recordName = /^([0-9a-f]{64})\.json$/;

/**
 * The security profiles of this node: a blob and a record each, both on disk before `put` returns. What a power cut or a
 * bad disk has left of one is dropped when the store is opened, to be pulled again.
 */
export class ProfileStore {
  readonly #directory: string;
  readonly #blobs: ContentStore;
  readonly #profiles = new Map<Digest, SecurityProfile>();

  /** `directory` is made if missing. */
  constructor(directory: string, log: Log) {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    removeUnfinished(directory);
    this.#directory = directory;
    this.#blobs = new ContentStore(directory);
    for (const name of readdirSync(directory)) {
      const [, hex] = recordName.exec(name) ?? [];
      if (hex === undefined) continue;
      try {
        const profile = this.#read(parseDigest(`sha256:${hex}`));
        this.#profiles.set(profile.digest, profile);
      } catch (err) {
        log.warn("security profile dropped", { digest: `sha256:${hex}`, err: describe(err) });
        rmSync(join(directory, name), { force: true });
      }
    }
    for (const digest of this.#blobs.list()) {
      if (!this.#profiles.has(digest)) this.#blobs.remove(digest);
    }
  }

  list(): readonly SecurityProfile[] {
    return [...this.#profiles.values()];
  }

  /** What all of them take on disk. */
  usage(): { readonly usedBytes: number; readonly inodes: number } {
    const usedBytes = this.list().reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    return { usedBytes, inodes: filesOfProfile * this.#profiles.size };
  }

  /** By the digest of an artifact that led to it. */
  findByManifest(manifest: Digest): SecurityProfile | undefined {
    return this.list().find(({ manifests }) => manifests.includes(manifest));
  }

  /** The bytes of the profile that was pulled by this reference. Throws data-loss for bytes that are not what they were. */
  read(ref: string): Buffer | undefined {
    const found = this.list().find(({ names }) => names.some((name) => name.ref === ref));
    return found && this.#blobs.get(found.digest);
  }

  /** Adds a profile, or a name to one that is there. Throws resource-exhausted when there are too many. */
  put(bytes: Uint8Array, manifest: Digest, name: ProfileName): void {
    const digest = digestOf(bytes);
    if (!this.#profiles.has(digest) && this.#profiles.size >= maxProfiles) {
      throw new AppError(`over ${maxProfiles} security profiles are on this node`, {
        kind: "resource-exhausted",
      });
    }
    this.#blobs.put(bytes);
    const { manifests = [], names = [] } = this.#profiles.get(digest) ?? {};
    this.#write({
      digest,
      manifests: [...new Set([...manifests, manifest])].slice(-maxNames),
      names: withName(names, name),
      sizeBytes: bytes.byteLength,
    });
  }

  addName(profile: SecurityProfile, name: ProfileName): void {
    const isKnown = profile.names.some(
      ({ ref, admittedBy }) => ref === name.ref && admittedBy === name.admittedBy,
    );
    if (!isKnown) this.#write({ ...profile, names: withName(profile.names, name) });
  }

  /** Idempotent. */
  remove(digest: Digest): void {
    rmSync(this.#recordOf(digest), { force: true });
    this.#blobs.remove(digest);
    this.#profiles.delete(digest);
  }

  #write(profile: SecurityProfile): void {
    const { digest, manifests, names } = profile;
    writeFileAtomically(this.#recordOf(digest), JSON.stringify({ manifests, names }));
    this.#profiles.set(digest, profile);
  }

  #read(digest: Digest): SecurityProfile {
    const text = readFileSync(this.#recordOf(digest));
    const record = asObject(parseJson(text, "record", { maxBytes: maxRecordBytes }), "record");
    return {
      digest,
      manifests: asList(record["manifests"], "manifests", asString).filter(isDigest),
      names: asList(record["names"], "names", parseName),
      sizeBytes: this.#blobs.get(digest).byteLength,
    };
  }

  #recordOf(digest: Digest): string {
    return join(this.#directory, `${digestHex(digest)}.json`);
  }
}

function withName(names: readonly ProfileName[], added: ProfileName): readonly ProfileName[] {
  return [...names.filter(({ ref }) => ref !== added.ref), added].slice(-maxNames);
}

function parseName(value: unknown, what: string): ProfileName {
  const name = asObject(value, what);
  return {
    ref: asString(name["ref"], `${what}.ref`),
    admittedBy: asString(name["admittedBy"], `${what}.admittedBy`),
  };
}
