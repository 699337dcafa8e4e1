/** The part of the OCI runtime-spec (1.2) that crib writes: config.json of a bundle on Linux. */
export interface RuntimeSpec {
  readonly ociVersion: string;
  readonly process: SpecProcess;
  readonly root: { readonly path: string; readonly readonly: boolean };
  readonly mounts: readonly SpecMount[];
  readonly hooks?: SpecHooks;
  readonly linux: SpecLinux;
}

/** Programs of the node that the OCI runtime runs at moments of a container's life. */
export type SpecHooks = Readonly<Partial<Record<SpecHookName, readonly SpecHook[]>>>;
export type SpecHookName =
  | "prestart"
  | "createRuntime"
  | "createContainer"
  | "startContainer"
  | "poststart"
  | "poststop";

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
  readonly user: SpecUser;
  readonly args: readonly string[];
  readonly env: readonly string[];
  readonly cwd: string;
  readonly capabilities: SpecCapabilities;
  readonly noNewPrivileges: boolean;
  readonly oomScoreAdj: number;
  readonly rlimits?: readonly SpecRlimit[];
  readonly apparmorProfile?: string;
  readonly selinuxLabel?: string;
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
  /** A class of the node's resctrl that is there already. */
  readonly intelRdt?: { readonly closID: string };
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
  readonly memory?: { readonly limit?: number; readonly swap?: number };
  readonly cpu?: SpecCpu;
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

export interface SpecCpu {
  readonly shares?: number;
  readonly quota?: number;
  readonly period?: number;
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
  readonly value: number;
  readonly valueTwo?: number;
  readonly op: string;
}
