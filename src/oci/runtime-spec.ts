/** The part of the OCI runtime-spec (1.3) that crib writes: config.json of a bundle on Linux. */
export interface RuntimeSpec {
  readonly ociVersion: string;
  /** Of a UTS namespace that is not the node's. */
  readonly hostname?: string;
  readonly process: SpecProcess;
  readonly root: { readonly path: string; readonly readonly: boolean };
  readonly mounts: readonly SpecMount[];
  readonly hooks?: SpecHooks;
  /** Of a client only what the handler lets through: some OCI runtimes obey annotations. */
  readonly annotations?: Readonly<Record<string, string>>;
  readonly linux: SpecLinux;
}

/** The moments of a container's life at which the OCI runtime runs programs of the node. */
export const specHookNames = [
  "prestart",
  "createRuntime",
  "createContainer",
  "startContainer",
  "poststart",
  "poststop",
] as const;
export type SpecHookName = (typeof specHookNames)[number];
export type SpecHooks = Readonly<Partial<Record<SpecHookName, readonly SpecHook[]>>>;

export interface SpecHook {
  readonly path: string;
  /** With the program's name first; the path alone when absent. */
  readonly args?: readonly string[];
  /** All of its environment; never empty, since runc would take its own instead. */
  readonly env: readonly string[];
  readonly timeout?: number;
}

export interface SpecProcess {
  readonly terminal: boolean;
  readonly consoleSize?: { readonly height: number; readonly width: number };
  readonly user: SpecUser;
  readonly args: readonly string[];
  readonly env: readonly string[];
  readonly cwd: string;
  readonly capabilities: SpecCapabilities;
  readonly noNewPrivileges: boolean;
  readonly oomScoreAdj: number;
  readonly rlimits?: readonly SpecRlimit[];
  readonly ioPriority?: { readonly class: string; readonly priority: number };
  readonly scheduler?: SpecScheduler;
  readonly apparmorProfile?: string;
  readonly selinuxLabel?: string;
}

/** sched_setattr(2) */
export interface SpecScheduler {
  readonly policy: string;
  readonly nice?: number;
  readonly priority?: number;
  readonly flags?: readonly string[];
  readonly runtime?: number;
  readonly deadline?: number;
  readonly period?: number;
}

export interface SpecRlimit {
  /** `RLIMIT_NOFILE` */
  readonly type: string;
  readonly soft: number;
  readonly hard: number;
}

export interface SpecUser {
  readonly uid: number;
  readonly gid: number;
  readonly additionalGids: readonly number[];
}

/** Names as in capabilities(7), with `CAP_`. */
export interface SpecCapabilities {
  readonly bounding: readonly string[];
  readonly effective: readonly string[];
  readonly permitted: readonly string[];
  readonly inheritable: readonly string[];
  readonly ambient: readonly string[];
}

export interface SpecMount {
  readonly destination: string;
  readonly type: string;
  readonly source: string;
  readonly options: readonly string[];
  /** Of an id-mapped mount. */
  readonly uidMappings?: readonly SpecIdMapping[];
  readonly gidMappings?: readonly SpecIdMapping[];
}

export interface SpecIdMapping {
  readonly containerID: number;
  readonly hostID: number;
  readonly size: number;
}

export interface SpecLinux {
  readonly namespaces: readonly SpecNamespace[];
  readonly cgroupsPath: string;
  readonly resources: SpecResources;
  readonly devices: readonly SpecDevice[];
  readonly maskedPaths: readonly string[];
  readonly readonlyPaths: readonly string[];
  readonly rootfsPropagation?: "rprivate" | "rslave" | "rshared";
  readonly seccomp?: SpecSeccomp;
  readonly mountLabel?: string;
  readonly sysctl?: Readonly<Record<string, string>>;
  /** What clients may name is a class of the node's resctrl that is there already; the rest is for devices and plugins. */
  readonly intelRdt?: SpecIntelRdt;
  readonly memoryPolicy?: SpecMemoryPolicy;
  /** Interfaces of the node that move into the container's network namespace. */
  readonly netDevices?: Readonly<Record<string, { readonly name?: string }>>;
}

export interface SpecIntelRdt {
  readonly closID?: string;
  readonly l3CacheSchema?: string;
  readonly memBwSchema?: string;
  readonly schemata?: readonly string[];
  readonly enableMonitoring?: boolean;
}

/** set_mempolicy(2) */
export interface SpecMemoryPolicy {
  readonly mode: string;
  readonly nodes: string;
  readonly flags?: readonly string[];
}

export interface SpecNamespace {
  readonly type: "pid" | "network" | "ipc" | "uts" | "mount" | "cgroup" | "user";
  /** An existing namespace to join; a new one without. */
  readonly path?: string;
}

export interface SpecDevice {
  readonly path: string;
  readonly type: "c" | "b";
  readonly major: number;
  readonly minor: number;
  readonly fileMode: number;
  readonly uid: number;
  readonly gid: number;
}

/** What `runc update -r -` takes as well. */
export interface SpecResources {
  readonly devices?: readonly SpecDeviceRule[];
  readonly memory?: SpecMemory;
  readonly cpu?: SpecCpu;
  readonly pids?: { readonly limit: number };
  readonly hugepageLimits?: readonly { readonly pageSize: string; readonly limit: number }[];
  readonly unified?: Readonly<Record<string, string>>;
  readonly blockIO?: SpecBlockIo;
}

export interface SpecBlockIo {
  readonly weight?: number;
  readonly weightDevice: readonly (SpecDeviceNumber & { readonly weight: number })[];
  readonly throttleReadBpsDevice: readonly SpecDeviceRate[];
  readonly throttleWriteBpsDevice: readonly SpecDeviceRate[];
  readonly throttleReadIOPSDevice: readonly SpecDeviceRate[];
  readonly throttleWriteIOPSDevice: readonly SpecDeviceRate[];
}

interface SpecDeviceNumber {
  readonly major: number;
  readonly minor: number;
}

export interface SpecDeviceRate extends SpecDeviceNumber {
  readonly rate: number;
}

export interface SpecMemory {
  readonly limit?: number;
  readonly reservation?: number;
  readonly swap?: number;
  readonly kernel?: number;
  readonly kernelTCP?: number;
  readonly swappiness?: number;
  readonly disableOOMKiller?: boolean;
  readonly useHierarchy?: boolean;
}

export interface SpecCpu {
  readonly shares?: number;
  readonly quota?: number;
  readonly period?: number;
  readonly realtimeRuntime?: number;
  readonly realtimePeriod?: number;
  readonly cpus?: string;
  readonly mems?: string;
}

/** Rules apply in order, the last that matches wins; absent type, major and minor mean any. */
export interface SpecDeviceRule {
  readonly allow: boolean;
  readonly access: string;
  readonly type?: "c" | "b";
  readonly major?: number;
  readonly minor?: number;
}

export interface SpecSeccomp {
  readonly defaultAction: string;
  readonly defaultErrnoRet?: number;
  readonly listenerPath?: string;
  readonly listenerMetadata?: string;
  readonly architectures?: readonly string[];
  readonly flags?: readonly string[];
  readonly syscalls: readonly SpecSyscallRule[];
}

export interface SpecSyscallRule {
  readonly names: readonly string[];
  readonly action: string;
  readonly errnoRet?: number;
  readonly args?: readonly SpecSyscallArg[];
}

export interface SpecSyscallArg {
  readonly index: number;
  /** Of 64 bits: a bigint where a number cannot hold it. */
  readonly value: number | bigint;
  readonly valueTwo?: number | bigint;
  readonly op: string;
}
