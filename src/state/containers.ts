import { fromBinary, toBinary } from "@bufbuild/protobuf";
import type { Container, ContainerState, ContainerUser } from "../container/container.ts";
import * as pb from "../gen/runtime/v1/api_pb.ts";
import type { ImageId } from "../image/image.ts";
import type { ContainerId } from "../lib/id.ts";
import {
  asBoolean,
  asInteger,
  asList,
  asObject,
  asString,
  type JsonObject,
  optional,
} from "../lib/json.ts";
import type { IdRange, PodIds } from "../oci/pod-ids.ts";
import type { Copies, Row } from "./copies.ts";
import type { Database } from "./database.ts";
import { asContainerExtras } from "./extras.ts";
import {
  asContainerId,
  asNanoseconds,
  asOneOf,
  asSandboxId,
  asTaskRecord,
  parseRecord,
} from "./readers.ts";
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
function taskIn(record: JsonObject, state: ContainerState): Container["task"] {
  if (record["pidStartTime"] === undefined) return asTaskRecord(record["task"], "task");
  const task = { monitor: optional(record["monitorId"], "monitorId", asString) ?? "" };
  if (!("pid" in state)) return { ...task, pid: 0 };
  return {
    ...task,
    pid: state.pid,
    startTime: asInteger(record["pidStartTime"], "pidStartTime"),
  };
}

function decode(row: ContainerRow): Container {
  const record = parseRecord(row.record);
  const times = asObject(record["times"], "times");
  const state = asState(asObject(record["state"], "state"), times);
  const ids = optional(record["ids"], "ids", asPodIds);
  const extras = optional(record["extras"], "extras", asContainerExtras);
  return {
    id: asContainerId(row.id, "id"),
    sandboxId: asSandboxId(record["sandboxId"], "sandboxId"),
    config: fromBinary(pb.ContainerConfigSchema, row.config),
    createdAtNs: asNanoseconds(times["created"], "times.created"),
    imageId: asString(record["imageId"], "imageId") as ImageId,
    logPath: asString(record["logPath"], "logPath"),
    user: asUser(record["user"], "user"),
    ...(ids === undefined ? {} : { ids }),
    ...(extras === undefined ? {} : { extras }),
    resources: asBoolean(record["hasResources"], "hasResources")
      ? fromBinary(pb.LinuxContainerResourcesSchema, row.resources)
      : undefined,
    stopSignal: asInteger(record["stopSignal"], "stopSignal"),
    handler: asString(record["handler"], "handler"),
    cgroupPath: asString(record["cgroupPath"], "cgroupPath"),
    bootId: asString(record["bootId"], "bootId"),
    task: taskIn(record, state),
    state,
  };
}

function asState(state: JsonObject, times: JsonObject): ContainerState {
  const name = asOneOf(state["name"], "state.name", ["created", "running", "exited"]);
  const at = (time: string) => asNanoseconds(times[time], `times.${time}`);
  const pid = () => asInteger(state["pid"], "state.pid");
  switch (name) {
    case "created":
      return { name, pid: pid() };
    case "running":
      return { name, pid: pid(), startedAtNs: at("started") };
    case "exited":
      return {
        name,
        startedAtNs: times["started"] === undefined ? undefined : at("started"),
        finishedAtNs: at("finished"),
        exitCode: asInteger(state["exitCode"], "state.exitCode"),
        reason: asOneOf(state["reason"], "state.reason", exitReasons),
        message: asString(state["message"], "state.message"),
      };
  }
}

const exitReasons = ["Completed", "Error", "OOMKilled", "StartError", "Unknown"] as const;

function asUser(value: unknown, what: string): ContainerUser {
  const user = asObject(value, what);
  return {
    uid: asInteger(user["uid"], `${what}.uid`),
    gid: asInteger(user["gid"], `${what}.gid`),
    supplementalGroups: asList(user["supplementalGroups"], `${what}.groups`, asInteger),
  };
}

function asPodIds(value: unknown, what: string): PodIds {
  const ids = asObject(value, what);
  return {
    uids: asIdRange(ids["uids"], `${what}.uids`),
    gids: asIdRange(ids["gids"], `${what}.gids`),
  };
}

function asIdRange(value: unknown, what: string): IdRange {
  const range = asObject(value, what);
  return {
    hostId: asInteger(range["hostId"], `${what}.hostId`),
    length: asInteger(range["length"], `${what}.length`),
  };
}
