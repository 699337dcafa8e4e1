import type * as pb from "../../gen/runtime/v1/api_pb.ts";
import type { ImageConfig } from "../../oci/image-config.ts";
import type { SpecBlockIo, SpecSeccomp } from "../../oci/runtime-spec.ts";
import type { SandboxEnvironment } from "../environment.ts";
import type { ResolvedUser } from "../user/user.ts";
import type { Annotations } from "./annotations.ts";
import type { CdiChanges } from "./device/cdi.ts";
import type { ResolvedDevices } from "./device/resolve.ts";
import type { SpecHost } from "./host.ts";
import type { ResolvedMount } from "./mount/resolve.ts";
import type { SelinuxLabels } from "./security/selinux.ts";

/** The parts of an image config that become part of a container; nothing else of an image reaches config.json. */
export type ImageProcess = Pick<ImageConfig, "env" | "entrypoint" | "cmd" | "workingDir">;

/** What the administrator's classes that annotations name mean for the container. */
export interface ResourceClasses {
  readonly blockIO?: SpecBlockIo;
  readonly intelRdt?: { readonly closID: string };
}

/** Everything config.json is made of. What had to be looked up on the node has been resolved before. */
export interface ContainerSpecInput {
  readonly config: pb.ContainerConfig;
  readonly image: ImageProcess;
  /** Mounted root file system of the container, absolute. */
  readonly rootfs: string;
  readonly user: ResolvedUser;
  readonly mounts: readonly ResolvedMount[];
  readonly devices: ResolvedDevices;
  readonly cdi: CdiChanges;
  readonly classes: ResourceClasses;
  readonly seccomp: SpecSeccomp | undefined;
  /** Name of a loaded AppArmor profile. */
  readonly apparmorProfile: string | undefined;
  readonly selinux: SelinuxLabels | undefined;
  readonly environment: SandboxEnvironment;
  readonly annotations: Annotations;
  /** As the OCI runtime wants it: a path, or `slice:prefix:name` with the systemd driver. */
  readonly cgroupPath: string;
  readonly host: SpecHost;
}
