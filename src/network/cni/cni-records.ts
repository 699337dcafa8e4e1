import { mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { removeUnfinished, writeFileAtomically } from "../../lib/atomic-file.ts";
import { AppError } from "../../lib/errors.ts";
import type { SandboxId } from "../../lib/id.ts";
import {
  asBoolean,
  asObject,
  asString,
  type JsonObject,
  optional,
  parseJson,
} from "../../lib/json.ts";
import { isErrno } from "../../os/errno-error.ts";
import { type Conflist, formatConflist, readConflist } from "./conflist.ts";

/**
 * What DEL needs to undo an ADD, whatever has become of the configuration since. Written before ADD is begun
 * (`result` absent) and again before its success is returned, so that no ADD is ever without its DEL.
 */
export interface CniRecord {
  readonly sandboxId: SandboxId;
  readonly conflist: Conflist;
  /** It is crib's own network: the plugins that are part of crib come first. */
  readonly embedded: boolean;
  readonly netnsPath: string;
  readonly cniArgs: string;
  readonly runtimeConfig: JsonObject;
  /** The chain's result as the last plugin printed it. */
  readonly result: JsonObject | undefined;
}

/** The records of one node: a file each, `<sandbox id>.json`. */
export interface CniRecords {
  list(): readonly SandboxId[];
  find(id: SandboxId): CniRecord | undefined;
  /** As lasting as it has to be when this returns. */
  put(record: CniRecord): void;
  delete(id: SandboxId): void;
}

const fileName = /^([0-9a-f]{64})\.json$/;
const maxRecordBytes = 8 << 20;

export interface CniRecordDirs {
  /** Outlives a reboot, as the addresses that plugins give out do. */
  readonly lasting: string;
  /** Does not, on tmpfs: of crib's own network a reboot leaves nothing to undo, and nobody waits for a disk. */
  readonly brief: string;
}

export function openCniRecords({ lasting, brief }: CniRecordDirs): CniRecords {
  const dirs = [brief, lasting];
  for (const dir of dirs) {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    removeUnfinished(dir);
  }
  return {
    list() {
      const ids = dirs
        .flatMap((dir) => readdirSync(dir))
        .flatMap((name) => {
          const id = fileName.exec(name)?.[1];
          return id === undefined ? [] : [id as SandboxId];
        });
      return [...new Set(ids)];
    },
    find(id) {
      for (const dir of dirs) {
        try {
          return readRecord(id, readFileSync(`${dir}/${id}.json`));
        } catch (cause) {
          if (isErrno(cause, "ENOENT")) continue;
          throw new AppError(`network record of ${id}`, { kind: "data-loss", cause });
        }
      }
      return undefined;
    },
    put(record) {
      const dir = record.embedded ? brief : lasting;
      const path = `${dir}/${record.sandboxId}.json`;
      writeFileAtomically(path, formatRecord(record), { brief: record.embedded });
    },
    delete(id) {
      // Not synced: a record that a power cut brings back costs one more DEL.
      for (const dir of dirs) rmSync(`${dir}/${id}.json`, { force: true });
    },
  };
}

function formatRecord(record: CniRecord): string {
  return JSON.stringify({ ...record, conflist: formatConflist(record.conflist) });
}

function readRecord(sandboxId: SandboxId, bytes: Uint8Array): CniRecord {
  const json = asObject(parseJson(bytes, "record", { maxBytes: maxRecordBytes }), "record");
  return {
    sandboxId,
    conflist: readConflist(json["conflist"], "conflist"),
    embedded: asBoolean(json["embedded"], "embedded"),
    netnsPath: asString(json["netnsPath"], "netnsPath"),
    cniArgs: asString(json["cniArgs"], "cniArgs"),
    runtimeConfig: asObject(json["runtimeConfig"], "runtimeConfig"),
    result: optional(json["result"], "result", asObject),
  };
}
