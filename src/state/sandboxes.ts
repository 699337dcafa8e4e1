import { fromBinary, toBinary } from "@bufbuild/protobuf";
import * as pb from "../gen/runtime/v1/api_pb.ts";
import type { ContainerId, SandboxId } from "../lib/id.ts";
import type { Sandbox } from "../sandbox/sandbox.ts";
import type { Database } from "./database.ts";
import { Table } from "./table.ts";

export type SandboxTable = Table<SandboxId, Sandbox>;

/** Everything but id and config, as JSON; a bigint is a decimal string. */
interface SandboxRecord {
  readonly handler: string;
  readonly createdAtNs: string;
  readonly bootId: string;
  readonly state: Sandbox["state"];
  readonly ips: readonly string[];
  readonly networkAttached: boolean;
  readonly infra: { readonly id: string; readonly pid: number } | null;
}

export function openSandboxes(database: Database): SandboxTable {
  const rows = database.all<{ id: string; config: Uint8Array; record: string }>(
    "SELECT id, config, record FROM sandboxes ORDER BY rowid",
  );
  return new Table(
    "sandbox",
    { put, delete: erase, whenWritten: database.whenWritten },
    rows.map(decode),
  );

  function put(sandbox: Sandbox): void {
    database.run(
      `INSERT INTO sandboxes (id, config, record) VALUES (?, ?, ?)
       ON CONFLICT (id) DO UPDATE SET config = excluded.config, record = excluded.record`,
      sandbox.id,
      toBinary(pb.PodSandboxConfigSchema, sandbox.config),
      JSON.stringify(encode(sandbox)),
    );
  }

  function erase(id: string): void {
    database.run("DELETE FROM sandboxes WHERE id = ?", id);
  }
}

function encode(sandbox: Sandbox): SandboxRecord {
  return {
    handler: sandbox.handler,
    createdAtNs: String(sandbox.createdAtNs),
    bootId: sandbox.bootId,
    state: sandbox.state,
    ips: sandbox.ips,
    networkAttached: sandbox.networkAttached,
    infra: sandbox.infra ?? null,
  };
}

function decode(row: { id: string; config: Uint8Array; record: string }): Sandbox {
  const record = JSON.parse(row.record) as SandboxRecord;
  return {
    ...record,
    id: row.id as SandboxId,
    config: fromBinary(pb.PodSandboxConfigSchema, row.config),
    createdAtNs: BigInt(record.createdAtNs),
    infra:
      record.infra === null ? undefined : { ...record.infra, id: record.infra.id as ContainerId },
  };
}
