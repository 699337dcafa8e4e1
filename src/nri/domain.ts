import type { Container } from "../container/container.ts";
import type { Image, ImageId } from "../image/image.ts";
import type { Context } from "../lib/context.ts";
import type { ContainerId, SandboxId } from "../lib/id.ts";
import type { RuntimeSpec, SpecResources } from "../oci/runtime-spec.ts";
import type { Sandbox } from "../sandbox/sandbox.ts";

/** The domain as plugins need it; daemon/ binds it. */
export interface NriDomain {
  readonly stateDir: string;
  listSandboxes(): readonly Sandbox[];
  findSandbox(id: SandboxId): Sandbox | undefined;
  listContainers(): readonly Container[];
  findContainer(id: string): Container | undefined;
  findImage(id: ImageId): Image | undefined;
  /** What the OCI runtime was given; undefined when it is gone. */
  readSpec(id: ContainerId): RuntimeSpec | undefined;
  /** Changes limits without asking plugins. */
  applyResources(ctx: Context, id: ContainerId, change: SpecResources): Promise<void>;
  stopContainer(ctx: Context, id: ContainerId): Promise<void>;
}
