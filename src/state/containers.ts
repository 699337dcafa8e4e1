import { fromBinary, toBinary } from "@bufbuild/protobuf";
import type { Container, ContainerState } from "../container/container.ts";
import * as pb from "../gen/runtime/v1/api_pb.ts";
import type { ContainerId } from "../lib/id.ts";
import type { Copies, Row } from "./copies.ts";
import type { Database } from "./database.ts";
import { Table } from "./table.ts";

export type ContainerTable = Table<ContainerId, Container>;

interface ContainerRow extends Row {
  readonly id: string;
  readonly config: Uint8Array;
  readonly resources: Uint8Array;
  readonly record: string;
}

/** Everything but id, config and resources, as JSON; bigints are decimal strings in `times`. */
interface ContainerRecord
  extends Omit<Container, "id" | "config" | "resources" | "createdAtNs" | "state"> {
  readonly state: Readonly<Record<string, unknown>>;
  readonly hasResources: boolean;
  readonly times: {
    readonly created: string;
    readonly started?: string | undefined;
    readonly finished?: string | undefined;
  };
}

export function openContainers(database: Database, copies: Copies): ContainerTable {
  const rows = database.all<ContainerRow>(
    "SELECT id, config, resources, record FROM containers ORDER BY rowid",
  );
  return new Table(
    "container",
    { put, delete: erase, whenWritten: database.whenWritten },
    copies.read(database, rows, decode, { write, erase }),
  );

  function put(container: Container): void {
    const row = {
      id: container.id,
      config: toBinary(pb.ContainerConfigSchema, container.config),
      resources:
        container.resources === undefined
          ? new Uint8Array()
          : toBinary(pb.LinuxContainerResourcesSchema, container.resources),
      record: JSON.stringify(encode(container)),
    };
    write(row);
    database.whenWritten(() => copies.put(row));
  }

  function write({ id, config, resources, record }: ContainerRow): void {
    database.run(
      `INSERT INTO containers (id, config, resources, record) VALUES (?, ?, ?, ?)
       ON CONFLICT (id) DO UPDATE
       SET config = excluded.config, resources = excluded.resources, record = excluded.record`,
      id,
      config,
      resources,
      record,
    );
  }

  function erase(id: string): void {
    database.run("DELETE FROM containers WHERE id = ?", id);
    database.whenWritten(() => copies.delete(id));
  }
}

function encode(container: Container): ContainerRecord {
  const { id: _id, config: _config, resources, createdAtNs, state, ...rest } = container;
  const { startedAtNs, finishedAtNs, ...plainState } = {
    startedAtNs: undefined,
    finishedAtNs: undefined,
    ...state,
  };
  return {
    ...rest,
    hasResources: resources !== undefined,
    state: plainState,
    times: {
      created: String(createdAtNs),
      started: startedAtNs?.toString(),
      finished: finishedAtNs?.toString(),
    },
  };
}

/** Records of crib 0.1 have the task's in two fields, and its pid in the state. */
interface OldRecord {
  readonly monitorId?: string | undefined;
  readonly pidStartTime?: number | undefined;
}

function taskOf({ monitorId, pidStartTime }: OldRecord, pid: unknown): Pick<Container, "task"> {
  if (pidStartTime === undefined) return {} as Pick<Container, "task">;
  const isKnown = typeof pid === "number";
  return {
    task: {
      pid: isKnown ? pid : 0,
      ...(isKnown && { startTime: pidStartTime }),
      monitor: monitorId ?? "",
    },
  };
}

function decode(row: ContainerRow): Container {
  const record = JSON.parse(row.record) as ContainerRecord & OldRecord;
  const { times, hasResources, state, monitorId, pidStartTime, ...rest } = record;
  return {
    ...rest,
    ...taskOf({ monitorId, pidStartTime }, state["pid"]),
    id: row.id as ContainerId,
    config: fromBinary(pb.ContainerConfigSchema, row.config),
    resources: hasResources
      ? fromBinary(pb.LinuxContainerResourcesSchema, row.resources)
      : undefined,
    createdAtNs: BigInt(times.created),
    state: {
      ...state,
      ...(times.started !== undefined && { startedAtNs: BigInt(times.started) }),
      ...(times.finished !== undefined && { finishedAtNs: BigInt(times.finished) }),
    } as ContainerState,
  };
}
