import type * as pb from "../gen/runtime/v1/api_pb.ts";
import type { Image } from "../image/image.ts";
import type { Context } from "../lib/context.ts";
import type { ContainerId, SandboxId } from "../lib/id.ts";
import type { RuntimeSpec, SpecResources } from "../oci/runtime-spec.ts";
import type { Container, ContainerUser } from "./container.ts";

/** A container that is about to be created: the spec is made, nothing has been done with it. */
export interface Creation {
  readonly id: ContainerId;
  readonly sandboxId: SandboxId;
  readonly config: pb.ContainerConfig;
  readonly image: Image;
  readonly user: ContainerUser;
  readonly spec: RuntimeSpec;
}

/** What has to be looked up on the node, as if the client had asked for it. */
export interface PluginRequests {
  /** Qualified names of CDI devices. */
  readonly devices: readonly string[];
  readonly blockIoClass?: string | undefined;
  readonly rdtClass?: string | undefined;
}

/** What plugins want changed in a container before it is created. */
export interface Adjustment {
  /** What the spec is made with beyond the config; where this is not empty the spec has to be made again. */
  readonly requests: PluginRequests;
  /** Pure. */
  readonly apply: (spec: RuntimeSpec) => RuntimeSpec;
  /** Those limits of the result that are the plugins'. */
  readonly resources: SpecResources;
}

/**
 * Held from the moment plugins have been asked until what they were asked about is recorded, or will never be: a plugin
 * that connects meanwhile learns of the state of things after that.
 */
export type Agreement = Disposable;

/**
 * Plugins that are asked and notified in the life of containers; nri/ connects them. A request throws where a plugin
 * refuses; a notification never throws. All of it costs next to nothing while no plugin is connected.
 */
export interface ContainerPlugins {
  createContainer(ctx: Context, creation: Creation): Promise<Adjustment & Agreement>;
  /** What was agreed to has failed. */
  rollBackCreateContainer(ctx: Context, creation: Creation): Promise<void>;
  postCreateContainer(ctx: Context, container: Container): Promise<void>;
  startContainer(ctx: Context, container: Container): Promise<void>;
  postStartContainer(ctx: Context, container: Container): Promise<void>;
  /** Returns what plugins want instead of, or beyond, what is asked. */
  updateContainer(ctx: Context, container: Container, asked: SpecResources): Promise<SpecResources>;
  postUpdateContainer(ctx: Context, container: Container): Promise<void>;
  /** It has ended, by itself or not. Plugins are notified before whatever is said after this; nobody waits for it. */
  stopContainer(ctx: Context, container: Container): void;
  removeContainer(ctx: Context, container: Container): Promise<Agreement>;
}
