import type * as pb from "../gen/runtime/v1/api_pb.ts";
import type { Image } from "../image/image.ts";
import { shownImageName } from "../image/image-name.ts";
import type { Context } from "../lib/context.ts";
import type { RuntimeSpec } from "../oci/runtime-spec.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { type ContainerUser, nameOfImage } from "./container.ts";
import type { ContainerDeps } from "./deps.ts";
import type { SandboxEnvironment } from "./environment.ts";
import { applyExtras, type ContainerExtras } from "./extras.ts";
import { annotationPatterns } from "./runtimes.ts";
import type { ImageVolumes } from "./source/image-volumes.ts";
import type { ImageDefinedVolume } from "./source/volumes.ts";
import { containerAnnotations } from "./spec/annotations.ts";
import { buildContainerSpec } from "./spec/build.ts";
import { resolveClasses } from "./spec/class/resolve.ts";
import { cdiDeviceNames, resolveCdi } from "./spec/device/cdi.ts";
import { resolveDevices } from "./spec/device/resolve.ts";
import { resolveMounts, volumeMount } from "./spec/mount/resolve.ts";
import { resolveApparmor } from "./spec/security/apparmor.ts";
import { resolveSeccomp } from "./spec/security/seccomp.ts";
import { selinuxLabels } from "./spec/security/selinux.ts";
import { resolveUser } from "./user/user.ts";

export type SpecDeps = Pick<
  ContainerDeps,
  "host" | "mountSources" | "profiles" | "annotationPatterns"
>;

export interface SpecRequest {
  readonly config: pb.ContainerConfig;
  readonly extras?: ContainerExtras | undefined;
  readonly environment: SandboxEnvironment;
  readonly image: Image;
  /** Mounted root file system. */
  readonly rootfs: string;
  /** As the OCI runtime wants it. */
  readonly cgroupPath: string;
  readonly runtime: Runtime;
  readonly volumes: ImageVolumes;
  /** Of the container's own image. */
  readonly definedVolumes: readonly ImageDefinedVolume[];
}

/** Looks up what config.json needs from the node and from the image's files, then builds it. */
export async function prepareSpec(
  { log }: Pick<Context, "log">,
  deps: SpecDeps,
  request: SpecRequest,
): Promise<{ readonly spec: RuntimeSpec; readonly user: ContainerUser }> {
  const { host, mountSources, profiles } = deps;
  const { config, environment, image, rootfs, cgroupPath, runtime } = request;
  const context = config.linux?.securityContext;
  const { home, ...user } = resolveUser(rootfs, image.config.user, context);
  const built = buildContainerSpec({
    config,
    environment,
    annotations: containerAnnotations(
      environment,
      { config, imageName: shownImageName(image, nameOfImage(config)) },
      annotationPatterns(deps, environment.handler),
    ),
    image: image.config,
    rootfs,
    cgroupPath,
    host,
    user: { ...user, home },
    mounts: [
      ...request.definedVolumes.map(volumeMount),
      ...(await resolveMounts(config.mounts, {
        recursiveReadOnlyMounts: runtime.features.recursiveReadOnlyMounts,
        idMappedMounts: environment.userNamespace !== undefined,
        findSource: (path) => mountSources.find(path),
        imageVolumes: request.volumes,
      })),
    ],
    devices: await resolveDevices(config.devices, context?.privileged === true),
    cdi: await resolveCdi(cdiDeviceNames(config), host.cdiSpecDirs, runtime.features),
    classes: resolveClasses(config, environment.config, host),
    seccomp: await resolveSeccomp(context, { host, profiles, log }),
    apparmorProfile: resolveApparmor(context, host),
    selinux: selinuxLabels(context, host),
  });
  return { spec: applyExtras(built, request.extras, host), user };
}
