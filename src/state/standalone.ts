import { mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { removeUnfinished, writeFileAtomically } from "../lib/atomic-file.ts";
import { describe } from "../lib/errors.ts";
import { isId, type SandboxId } from "../lib/id.ts";
import { asBoolean, asInteger, asObject, optional, parseJson } from "../lib/json.ts";
import type { Log } from "../lib/log.ts";
import type { StandalonePod } from "../standalone/pod.ts";
import { asContainerId, asOneOf } from "./readers.ts";
import { Table } from "./table.ts";

export type StandaloneTable = Table<SandboxId, StandalonePod>;

const suffix = ".json";
const maxRecordBytes = 64 * 1024;

/**
 * A file for each standalone pod: what its user asked for outlives the boot, so that a record is on the disk when `put`
 * returns. One that cannot be read is logged and left out; its pod stays, and nobody restarts it.
 */
export function openStandalone(directory: string, log: Log): StandaloneTable {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  removeUnfinished(directory);
  const path = (id: string) => `${directory}/${id}${suffix}`;
  const pods: StandalonePod[] = [];
  for (const name of readdirSync(directory).sort()) {
    const id = name.slice(0, -suffix.length);
    if (!name.endsWith(suffix) || !isId(id)) continue;
    try {
      pods.push(decode(id as SandboxId, readFileSync(path(id), "utf8")));
    } catch (err) {
      log.error("standalone pod record damaged", { sandbox: id, err: describe(err) });
    }
  }
  return new Table(
    "standalone pod",
    {
      put: ({ id, ...record }) => writeFileAtomically(path(id), JSON.stringify(record)),
      delete: (id) => rmSync(path(id), { force: true }),
      whenWritten: (apply) => apply(),
    },
    pods,
  );
}

function decode(id: SandboxId, text: string): StandalonePod {
  const record = asObject(parseJson(text, "record", { maxBytes: maxRecordBytes }), "record");
  const restart = asObject(record["restart"], "restart");
  const log = asObject(record["log"], "log");
  return {
    id,
    containerId: optional(record["containerId"], "containerId", asContainerId),
    isStopped: asBoolean(record["isStopped"], "isStopped"),
    restarts: asInteger(record["restarts"], "restarts"),
    restart: {
      name: asOneOf(restart["name"], "restart.name", policies),
      maxRetries: asInteger(restart["maxRetries"], "restart.maxRetries"),
    },
    remove: asBoolean(record["remove"], "remove"),
    isAttended: asBoolean(record["isAttended"], "isAttended"),
    log: {
      maxSizeBytes: asInteger(log["maxSizeBytes"], "log.maxSizeBytes"),
      maxFiles: asInteger(log["maxFiles"], "log.maxFiles"),
    },
  };
}

const policies = ["no", "on-failure", "always", "unless-stopped"] as const;
