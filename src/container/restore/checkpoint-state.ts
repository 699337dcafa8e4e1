import { readdirSync, readFileSync, statSync } from "node:fs";
import { AppError, failedPrecondition, invalidArgument } from "../../lib/errors.ts";
import { type CriuMessage, type magics, readCriuImage } from "./criu-image.ts";

/** What of a checkpoint is compared with what the request allows. */
export interface CheckpointState {
  readonly threads: readonly ThreadState[];
  /** BPF programs with the index of the one that was installed before. */
  readonly filters: readonly { readonly program: Buffer; readonly previous: number | undefined }[];
  readonly mounts: readonly MountState[];
  readonly files: readonly FileState[];
}

export interface ThreadState {
  /** Of the image file, for people. */
  readonly name: string;
  readonly uids: readonly number[];
  readonly gids: readonly number[];
  readonly groups: readonly number[];
  /** Bits of capabilities(7). */
  readonly bounding: bigint;
  /** Permitted, effective, inheritable and ambient together. */
  readonly capabilities: bigint;
  readonly securebits: number;
  readonly noNewPrivileges: boolean;
  /** The index of its last seccomp filter; `undefined` for a thread without. */
  readonly filter: number | undefined;
  readonly oomScoreAdj: number | undefined;
}

export interface MountState {
  readonly id: number;
  readonly point: string;
  readonly root: string;
  readonly fstype: number;
  /** MS_* of mount(2). */
  readonly flags: number;
  /** By which the runtime names a mount of the node. */
  readonly externalKey: string;
  readonly isShared: boolean;
}

export interface FileState {
  readonly type: number;
  readonly path: string;
  readonly isExternal: boolean;
  readonly mount: number;
  /** O_* of open(2). */
  readonly flags: number;
}

const maxImageBytes = 16 << 20;

/** Files that a process may have open; CRIU makes the others with its own rights. */
export const fileTypes = {
  regular: 1,
  pipe: 2,
  fifo: 3,
  inetSocket: 4,
  unixSocket: 5,
  eventfd: 6,
  epoll: 7,
  inotify: 8,
  signalfd: 9,
  terminal: 11,
  timerfd: 17,
  memfd: 18,
  pidfd: 20,
} as const;
const knownFileTypes = new Set<number>(Object.values(fileTypes));

/** What a checkpoint of a container consists of. Whatever else CRIU can restore changes the node or widens rights. */
const knownImages = [
  /^(core|ids|mm|pagemap|pages|fs|fdinfo|rlimit|itimers|posix-timers|sigacts|signal-s|signal-p)-\d+\.img$/,
  /^(pagemap-shmem|ghost-file)-[0-9a-f]+\.img$/,
  /^(mountpoints|utsns|timens|netns|pidns)-\d+\.img$/,
  /^ipcns-(var|shm|msg|sem)-\d+\.img$/,
  /^tmpfs(-dev)?-\d+\.tar\.gz\.img$/,
  /^tcp-stream-[0-9a-f]+\.img$/,
  /^(pstree|inventory|files|seccomp|cgroup|fs|tty-info|tty-data|fifo-data|pipes-data|sk-queues)\.img$/,
  /^(remap-fpath|file-locks|filelocks|inotify-wd|signalfd|eventpoll-tfd|memfd|stats-dump|fifo|pipes)(\.img)?$/,
  /^descriptors\.json$/,
];

/** Whether a file of this name may be among CRIU's images. */
export function isKnownImage(name: string): boolean {
  return knownImages.some((pattern) => pattern.test(name));
}

/** Reads CRIU's images in `dir`. Throws `invalid-argument` for what is no checkpoint or cannot be judged. */
export function readCheckpointState(dir: string): CheckpointState {
  const names = readdirSync(dir);
  const unknown = names.find((name) => !isKnownImage(name));
  if (unknown !== undefined) {
    throw failedPrecondition(
      `checkpoint image ${JSON.stringify(unknown.slice(0, 100))}: cannot be restored`,
    );
  }
  const read = (name: string, magic: keyof typeof magics) =>
    readCriuImage(readImage(dir, name), magic, name);
  const optional = (name: string, magic: keyof typeof magics) =>
    names.includes(name) ? read(name, magic) : [];
  const like = (pattern: RegExp) => names.filter((name) => pattern.test(name)).sort();
  const ghosts = like(/^ghost-file-/);
  for (const name of ghosts) judgeGhost(read(name, "ghostFile"), name);
  judgeTerminals(dir, names);
  const [inventory] = read("inventory.img", "inventory");
  const rootIds = inventory?.message(3);
  if (rootIds === undefined) throw invalidArgument("inventory.img: names no namespaces");
  const cores = like(/^core-/).map((name) => [name, read(name, "core")] as const);
  if (cores.length === 0) throw invalidArgument("checkpoint: has no processes");
  const ids = [
    ...like(/^ids-/).flatMap((name) => read(name, "ids")),
    ...cores.flatMap(([, messages]) => messages.flatMap((one) => one.message(4) ?? [])),
  ];
  judgeNamespaces(ids, rootIds);
  const [mountImage, ...others] = like(/^mountpoints-/);
  if (mountImage === undefined || others.length > 0) {
    throw failedPrecondition("checkpoint: not exactly one mount namespace");
  }
  return {
    threads: cores.flatMap(([name, messages]) => messages.flatMap((one) => threadOf(one, name))),
    filters: filtersOf(optional("seccomp.img", "seccomp")),
    mounts: read(mountImage, "mountPoints").map(mountOf),
    files: read("files.img", "files").map(fileOf),
  };
}

function readImage(dir: string, name: string): Buffer {
  const path = `${dir}/${name}`;
  const size = statSync(path, { throwIfNoEntry: false })?.size;
  if (size === undefined) throw invalidArgument(`checkpoint: has no ${name}`);
  if (size > maxImageBytes) {
    throw new AppError(`checkpoint image ${name}: over ${maxImageBytes} bytes`, {
      kind: "resource-exhausted",
    });
  }
  return readFileSync(path);
}

/** A file that was deleted while it was open, which CRIU makes anew: as root, also where it is a device. */
function judgeGhost([ghost]: readonly CriuMessage[], name: string): void {
  const S_IFMT = 0o170_000;
  const plain = [0o100_000, 0o040_000, 0o010_000, 0o120_000];
  if (ghost !== undefined && plain.includes(ghost.int(3) & S_IFMT)) return;
  throw failedPrecondition(`checkpoint image ${name}: a deleted file that is a device or a socket`);
}

/** Pseudo-terminals and the one that the runtime gives; not consoles and serial lines of the node. */
function judgeTerminals(dir: string, names: readonly string[]): void {
  if (!names.includes("tty-info.img")) return;
  const PTY = 1;
  const CTTY = 4;
  const EXT_TTY = 5;
  const bytes = readImage(dir, "tty-info.img");
  for (const terminal of readCriuImage(bytes, "terminals", "tty-info.img")) {
    if (![PTY, CTTY, EXT_TTY].includes(terminal.int(2))) {
      throw failedPrecondition("checkpoint: a terminal that is no pseudo-terminal is open");
    }
  }
}

/** Fields of task_kobj_ids_entry. */
const namespaceFields = { pid: 5, network: 6, ipc: 7, uts: 8, mount: 9, user: 10, cgroup: 11 };

/**
 * All processes are in the same namespaces, of which those of a container are not the node's (`rootIds`): others would be
 * made with CRIU's rights, and with mounts that nobody asked for.
 */
function judgeNamespaces(all: readonly CriuMessage[], rootIds: CriuMessage): void {
  const [first] = all;
  if (first === undefined) throw invalidArgument("checkpoint: names no namespaces");
  for (const [kind, field] of Object.entries(namespaceFields)) {
    const own = first.number(field);
    if (all.some((one) => one.number(field) !== own)) {
      throw failedPrecondition(`checkpoint: a process has a ${kind} namespace of its own`);
    }
    const isNodes = own === undefined || own === rootIds.number(field);
    const isContainers = kind !== "user" && kind !== "cgroup";
    if (isNodes === isContainers && kind !== "cgroup") {
      throw failedPrecondition(
        `checkpoint: its ${kind} namespace is ${isNodes ? "" : "not "}the node's`,
      );
    }
  }
}

/** Of task_core_entry: a process that has ended and was not reaped; it is made only to end again. */
const endedStates = [2, 6];

function threadOf(core: CriuMessage, name: string): readonly ThreadState[] {
  const thread = core.message(5);
  const credentials = thread?.message(10);
  if (credentials === undefined && endedStates.includes(core.message(3)?.int(1) ?? 0)) return [];
  if (thread === undefined || credentials === undefined) {
    throw failedPrecondition(`checkpoint image ${name}: a thread without credentials`);
  }
  const task = core.message(3);
  // As CRIU wrote it before version 3.
  if ((task?.number(11) ?? 0n) !== 0n) {
    throw failedPrecondition(`checkpoint image ${name}: written by a CRIU that is too old`);
  }
  const ids = (...fields: readonly number[]) => fields.map((field) => credentials.int(field));
  const FILTER = 2;
  const mode = thread.int(11);
  if (mode !== 0 && mode !== FILTER) {
    throw failedPrecondition(`checkpoint image ${name}: seccomp mode ${mode}`);
  }
  const state = {
    name,
    uids: ids(1, 3, 5, 7),
    gids: ids(2, 4, 6, 8),
    groups: credentials.numbers(14).map(Number),
    bounding: bitsOf(credentials.numbers(12)),
    capabilities: [9, 10, 11, 19].reduce(
      (all, field) => all | bitsOf(credentials.numbers(field)),
      0n,
    ),
    securebits: credentials.int(13),
    noNewPrivileges: credentials.int(18) === 1,
    filter: mode === FILTER ? thread.int(12) : undefined,
    oomScoreAdj: task?.number(14) === undefined ? undefined : task.int(14),
  };
  return [state];
}

/** Words of 32 bits, the lowest first. */
function bitsOf(words: readonly bigint[]): bigint {
  return words.reduce((all, word, i) => all | (BigInt.asUintN(32, word) << BigInt(32 * i)), 0n);
}

function filtersOf([entry]: readonly CriuMessage[]): CheckpointState["filters"] {
  return (entry?.messages(1) ?? []).map((filter) => ({
    program: Buffer.from(filter.bytes(1) ?? []),
    previous: filter.number(2) === undefined ? undefined : filter.int(2),
  }));
}

function mountOf(mount: CriuMessage): MountState {
  const isBad = [12, 16].some((field) => mount.int(field) !== 0); // a plugin's, or one that was deleted
  if (isBad) throw failedPrecondition("mountpoints: a mount of a plugin, or a deleted one");
  return {
    id: mount.int(2),
    point: mount.text(7),
    root: mount.text(6),
    fstype: mount.int(1),
    flags: mount.int(5),
    externalKey: mount.text(18),
    // An external mount without a name of its own is looked for on the node.
    isShared: mount.int(10) !== 0 || mount.int(11) !== 0 || mount.int(13) !== 0,
  };
}

function fileOf(file: CriuMessage): FileState {
  const type = file.int(1);
  if (!knownFileTypes.has(type)) {
    throw failedPrecondition(`files.img: an open file of type ${type} cannot be restored`);
  }
  if (type === fileTypes.inetSocket) judgeSocket(file.message(4));
  const regular = file.message(3);
  return {
    type,
    path: regular?.text(6) ?? "",
    isExternal: (regular?.int(9) ?? 0) !== 0,
    mount: regular === undefined ? -1 : zigzag(regular.number(7)),
    flags: regular?.int(2) ?? 0,
  };
}

/** sint32; -1 where it is absent. */
function zigzag(value: bigint | undefined): number {
  if (value === undefined) return -1;
  const bits = BigInt.asUintN(32, value);
  return Number((bits >> 1n) ^ -(bits & 1n));
}

/** TCP and UDP. Others want a capability that CRIU has, and the container may not have. */
function judgeSocket(socket: CriuMessage | undefined): void {
  const AF_INET = 2;
  const AF_INET6 = 10;
  const kinds: Readonly<Record<number, number>> = { 1: 6, 2: 17 }; // SOCK_STREAM: TCP, SOCK_DGRAM: UDP
  const isPlain =
    socket !== undefined &&
    [AF_INET, AF_INET6].includes(socket.int(3)) &&
    kinds[socket.int(4)] === socket.int(5);
  if (!isPlain) throw failedPrecondition("files.img: a socket that is neither TCP nor UDP is open");
}
