import { fromBinary, toBinary } from "@bufbuild/protobuf";
import * as pb from "../gen/runtime/v1/api_pb.ts";
import type { SandboxId } from "../lib/id.ts";
import {
  asBoolean,
  asInteger,
  asList,
  asObject,
  asString,
  asStringMap,
  optional,
} from "../lib/json.ts";
import type { Infra, Sandbox } from "../sandbox/sandbox.ts";
import type { Copies, Row } from "./copies.ts";
import type { Database } from "./database.ts";
import { asSandboxExtras } from "./extras.ts";
import {
  asContainerId,
  asNanoseconds,
  asOneOf,
  asSandboxId,
  asTaskRecord,
  parseRecord,
} from "./readers.ts";
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
  readonly namespaces?: NonNullable<Sandbox["namespaces"]>;
  readonly extras?: NonNullable<Sandbox["extras"]>;
  readonly infra: Infra | null;
}

interface SandboxRow extends Row {
  readonly config: Uint8Array;
  readonly record: string;
}

export function openSandboxes(database: Database, copies: Copies): SandboxTable {
  const rows = database.all<SandboxRow>("SELECT id, config, record FROM sandboxes ORDER BY rowid");
  return new Table(
    "sandbox",
    { put, delete: erase, whenWritten: database.whenWritten },
    copies.read(database, rows, decode, { write, erase }),
  );

  function put(sandbox: Sandbox): void {
    const row = {
      id: sandbox.id,
      config: toBinary(pb.PodSandboxConfigSchema, sandbox.config),
      record: JSON.stringify(encode(sandbox)),
    };
    write(row);
    database.whenWritten(() => copies.put(row));
  }

  function write({ id, config, record }: SandboxRow): void {
    database.run(
      `INSERT INTO sandboxes (id, config, record) VALUES (?, ?, ?)
       ON CONFLICT (id) DO UPDATE SET config = excluded.config, record = excluded.record`,
      id,
      config,
      record,
    );
  }

  function erase(id: string): void {
    database.run("DELETE FROM sandboxes WHERE id = ?", id);
    database.whenWritten(() => copies.delete(id));
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
    ...(sandbox.namespaces === undefined ? {} : { namespaces: sandbox.namespaces }),
    ...(sandbox.extras === undefined ? {} : { extras: sandbox.extras }),
  };
}

function decode(row: SandboxRow): Sandbox {
  const record = parseRecord(row.record);
  const namespaces = optional(record["namespaces"], "namespaces", asStringMap);
  const extras = optional(record["extras"], "extras", asSandboxExtras);
  return {
    id: asSandboxId(row.id, "id"),
    config: fromBinary(pb.PodSandboxConfigSchema, row.config),
    handler: asString(record["handler"], "handler"),
    createdAtNs: asNanoseconds(record["createdAtNs"], "createdAtNs"),
    bootId: asString(record["bootId"], "bootId"),
    state: asOneOf(record["state"], "state", ["starting", "ready", "not-ready"]),
    ips: asList(record["ips"], "ips", asString),
    networkAttached: asBoolean(record["networkAttached"], "networkAttached"),
    infra: optional(record["infra"], "infra", asInfra),
    ...(namespaces === undefined ? {} : { namespaces }),
    ...(extras === undefined ? {} : { extras }),
  };
}

function asInfra(value: unknown, what: string): Infra {
  const infra = asObject(value, what);
  const task = optional(infra["task"], `${what}.task`, asTaskRecord);
  const handler = optional(infra["handler"], `${what}.handler`, asString);
  const cgroupPath = optional(infra["cgroupPath"], `${what}.cgroupPath`, asString);
  return {
    id: asContainerId(infra["id"], `${what}.id`),
    pid: asInteger(infra["pid"], `${what}.pid`),
    ...(task === undefined ? {} : { task }),
    ...(handler === undefined ? {} : { handler }),
    ...(cgroupPath === undefined ? {} : { cgroupPath }),
  };
}
