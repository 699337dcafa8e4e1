import { expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { create } from "@bufbuild/protobuf";
import type { Container } from "../container/container.ts";
import * as pb from "../gen/runtime/v1/api_pb.ts";
import type { ImageId } from "../image/image.ts";
import type { ImageRecord } from "../image/image-record.ts";
import { generateContainerId, generateSandboxId } from "../lib/id.ts";
import { silentLog } from "../lib/log.ts";
import { digestOf } from "../oci/digest.ts";
import { emptyImageConfig } from "../oci/image-config.ts";
import type { Sandbox } from "../sandbox/sandbox.ts";
import { openContainers } from "./containers.ts";
import { Copies } from "./copies.ts";
import { Database } from "./database.ts";
import { openImageRecords } from "./images.ts";
import { type CreateIntent, IntentTable } from "./intents.ts";
import { openSandboxes } from "./sandboxes.ts";

function temporary() {
  const path = mkdtempSync("/tmp/crib-state-");
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true }) };
}

const copies = (dir: string, kind: string) =>
  new Copies(`${dir}/${kind}`, { durable: false, log: silentLog });

const sandbox: Sandbox = {
  id: generateSandboxId(),
  config: create(pb.PodSandboxConfigSchema, {
    metadata: { name: "a", namespace: "b", uid: "c", attempt: 2 },
    labels: { constructor: "x" },
  }),
  handler: "",
  createdAtNs: 1_700_000_000_123_456_789n,
  bootId: "boot",
  state: "ready",
  ips: ["10.88.0.2"],
  networkAttached: true,
  infra: { id: generateContainerId(), pid: 7 },
  extras: {
    hostAliases: [{ ip: "192.0.2.1", name: "db" }],
    network: { of: generateSandboxId() },
  },
};

const container: Container = {
  id: generateContainerId(),
  sandboxId: sandbox.id,
  config: create(pb.ContainerConfigSchema, { metadata: { name: "c", attempt: 1 } }),
  extras: {
    rlimits: [{ name: "nofile", soft: -1, hard: 5 }],
    tmpfs: [{ destination: "/x", options: ["size=1"] }],
    volumes: ["/y"],
    fills: [{ source: "/a", destination: "/b" }],
    shmSizeBytes: 7,
    pidsLimit: -1,
  },
  createdAtNs: 5n,
  imageId: "sha256:0" as ImageId,
  logPath: "/var/log/x",
  user: { uid: 0, gid: 0, supplementalGroups: [1] },
  resources: create(pb.LinuxContainerResourcesSchema, { cpuShares: 1n << 60n }),
  stopSignal: 15,
  handler: "",
  cgroupPath: "/crib/x",
  bootId: "boot",
  task: { pid: 4, startTime: 9, monitor: "m" },
  state: { name: "running", pid: 4, startedAtNs: 1_700_000_000_123_456_789n },
};

const intent: CreateIntent = {
  id: container.id,
  sandboxId: sandbox.id,
  handler: "",
  cgroupPath: "/x",
  log: { path: "/var/log/x", podDirectory: "/var/log" },
};

const digest = digestOf("anything");
const image: ImageRecord = {
  id: digest as unknown as ImageId,
  repoTags: ["registry.test/app:1"],
  repoDigests: [],
  manifestDigests: [digest],
  signatures: [{ subject: digest, manifest: digest, blobs: [digest] }],
  layers: [{ diffId: digest, sizeBytes: 7 }],
  configSizeBytes: 2,
  config: { ...emptyImageConfig, labels: { a: "b" }, diffIds: [digest] },
  artifact: { type: "application/x", configDigest: digest },
  pinned: true,
};

test("records come back as they were put", () => {
  using dir = temporary();
  {
    using database = Database.open(`${dir.path}/db`, silentLog);
    openSandboxes(database, copies(dir.path, "sandboxes")).put(sandbox);
    openContainers(database, copies(dir.path, "containers")).put(container);
    new IntentTable(database, silentLog).put(intent);
    openImageRecords(database, copies(dir.path, "images")).put(image);
  }
  using database = Database.open(`${dir.path}/db`, silentLog);
  expect(openSandboxes(database, copies(dir.path, "sandboxes")).list()).toEqual([sandbox]);
  expect(openContainers(database, copies(dir.path, "containers")).list()).toEqual([container]);
  expect(new IntentTable(database, silentLog).list()).toEqual([intent]);
  expect(openImageRecords(database, copies(dir.path, "images")).list()).toEqual([image]);
});

test("Table.resolve() takes a prefix that fits one record", () => {
  using dir = temporary();
  using database = Database.open(`${dir.path}/db`, silentLog);
  const sandboxes = openSandboxes(database, copies(dir.path, "sandboxes"));
  const id = (digit: string) => `abcd${digit.repeat(60)}` as Sandbox["id"];
  sandboxes.put({ ...sandbox, id: id("1") });
  sandboxes.put({ ...sandbox, id: id("2") });
  expect(sandboxes.resolve("abcd1")?.id).toBe(id("1"));
  expect(sandboxes.resolve("abcd3")).toBeUndefined();
  expect(() => sandboxes.resolve("abcd")).toThrow("ambiguous");
  expect(sandboxes.resolve("")).toBeUndefined();
});

test("Database.open() keeps a damaged file beside and starts empty", () => {
  using dir = temporary();
  writeFileSync(`${dir.path}/db`, "this is no database".repeat(1000));
  using database = Database.open(`${dir.path}/db`, silentLog);
  expect(openSandboxes(database, copies(dir.path, "sandboxes")).list()).toEqual([]);
  expect(readdirSync(dir.path).some((name) => name.startsWith("db.corrupt-"))).toBe(true);
});

test("copies give back what is lost with the database, or is damaged in it, and nothing else", () => {
  using dir = temporary();
  const path = `${dir.path}/db`;
  const all = (from: Database) => [
    ...openSandboxes(from, copies(dir.path, "sandboxes")).list(),
    ...openContainers(from, copies(dir.path, "containers")).list(),
  ];
  {
    using database = Database.open(path, silentLog);
    openSandboxes(database, copies(dir.path, "sandboxes")).put(sandbox);
    const containers = openContainers(database, copies(dir.path, "containers"));
    containers.put(container);
    containers.put({ ...container, id: generateContainerId() });
    containers.delete(containers.list()[1]?.id ?? container.id);
  }
  for (const damage of [
    () => rmSync(path),
    () => writeFileSync(path, "this is no database".repeat(1000)),
  ]) {
    damage();
    using database = Database.open(path, silentLog);
    expect(all(database)).toEqual([sandbox, container]);
    database.filled();
  }
  using database = Database.open(path, silentLog);
  database.run("UPDATE containers SET record = '{'");
  expect(all(database)).toEqual([sandbox, container]);
  database.run("UPDATE containers SET record = '{'");
  writeFileSync(`${dir.path}/containers/${container.id}`, "{");
  expect(all(database)).toEqual([sandbox]);
  database.run("DELETE FROM sandboxes");
  expect(all(database)).toEqual([]); // the database rules
});

test("a record whose JSON is whole and whose values are not is damaged, and costs itself only", () => {
  using dir = temporary();
  using database = Database.open(`${dir.path}/db`, silentLog);
  const other = { ...container, id: generateContainerId() };
  const open = () => openContainers(database, copies(dir.path, "containers"));
  open().put(container);
  open().put(other);
  openImageRecords(database, copies(dir.path, "images")).put(image);
  new IntentTable(database, silentLog).put({ ...intent, id: other.id });
  const row = database.all<{ record: string }>("SELECT record FROM containers")[0];
  const record = JSON.parse(row?.record ?? "");
  for (const wrong of [
    ...["sandboxId", "user", "task", "state", "times", "handler"].map((key) => ({ [key]: 7 })),
    { state: { name: "gone" } },
    { state: { ...record.state, pid: "4" } },
    { times: { created: "yesterday" } },
    { user: { ...record.user, supplementalGroups: ["root"] } },
    { ids: { uids: {} } },
  ]) {
    const text = JSON.stringify({ ...record, ...wrong });
    database.run("UPDATE containers SET record = ? WHERE id = ?", text, container.id);
    writeFileSync(`${dir.path}/containers/${container.id}`, "{}");
    expect(open().list()).toEqual([other]);
    open().put(container);
  }
  database.run("UPDATE images SET record = ?", '{"repoTags": 1}');
  writeFileSync(`${dir.path}/images/${image.id}`, "{}");
  expect(openImageRecords(database, copies(dir.path, "images")).list()).toEqual([]);
  database.run("UPDATE intents SET record = '{}'");
  expect(new IntentTable(database, silentLog).list()).toEqual([]);
});

test("what a start that fails has not filled in comes with the next one", () => {
  using dir = temporary();
  const path = `${dir.path}/db`;
  {
    using database = Database.open(path, silentLog);
    openSandboxes(database, copies(dir.path, "sandboxes")).put(sandbox);
    openContainers(database, copies(dir.path, "containers")).put(container);
    database.filled();
  }
  rmSync(path);
  {
    using database = Database.open(path, silentLog);
    expect(openSandboxes(database, copies(dir.path, "sandboxes")).list()).toEqual([sandbox]);
    database.run(
      "CREATE TRIGGER full BEFORE INSERT ON containers BEGIN SELECT RAISE(ABORT, 'no'); END",
    );
    expect(() => openContainers(database, copies(dir.path, "containers"))).toThrow(
      "write the state database",
    );
    database.run("DROP TRIGGER full");
  }
  using database = Database.open(path, silentLog);
  expect(openSandboxes(database, copies(dir.path, "sandboxes")).list()).toEqual([sandbox]);
  expect(openContainers(database, copies(dir.path, "containers")).list()).toEqual([container]);
});

test("Database.open() refuses a database of a newer crib and leaves it alone", () => {
  using dir = temporary();
  {
    using database = Database.open(`${dir.path}/db`, silentLog);
    database.run("PRAGMA user_version=999");
  }
  expect(() => Database.open(`${dir.path}/db`, silentLog)).toThrow("newer crib");
  expect(readdirSync(dir.path).filter((name) => name.includes("corrupt"))).toEqual([]);
});

test("a change that cannot be written is not seen, alone or in a transaction", () => {
  using dir = temporary();
  using database = Database.open(`${dir.path}/db`, silentLog);
  const sandboxes = openSandboxes(database, copies(dir.path, "sandboxes"));
  const containers = openContainers(database, copies(dir.path, "containers"));
  database.run(
    "CREATE TRIGGER full BEFORE INSERT ON containers BEGIN SELECT RAISE(ABORT, 'no'); END",
  );
  expect(() => containers.put(container)).toThrow("write the state database");
  expect(() =>
    database.transaction(() => {
      sandboxes.put(sandbox);
      expect(sandboxes.find(sandbox.id)).toBeUndefined(); // not before it is on disk
      containers.put(container);
    }),
  ).toThrow("write the state database");
  expect([...sandboxes.list(), ...containers.list()]).toEqual([]);
  database.transaction(() => sandboxes.put(sandbox));
  expect(sandboxes.list()).toEqual([sandbox]);
});

test("only a damaged file is put aside", () => {
  using dir = temporary();
  mkdirSync(`${dir.path}/db`); // cannot be opened, which is no damage
  expect(() => Database.open(`${dir.path}/db`, silentLog)).toThrow("open the state database");
  expect(readdirSync(dir.path)).toEqual(["db"]);
});
