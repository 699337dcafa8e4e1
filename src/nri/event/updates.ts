import { create } from "@bufbuild/protobuf";
import * as nri from "../../gen/nri/v1alpha1/api_pb.ts";
import { failedPrecondition, invalidArgument } from "../../lib/errors.ts";
import { mergeResources } from "../adjust/merge-resources.ts";
import { Owners } from "../owners.ts";

/** One response of a plugin may change this many containers. */
const maxUpdates = 10_000;

export interface WantedUpdate {
  readonly containerId: string;
  readonly resources: nri.LinuxResources;
  /** Every plugin that wants it can do without it. */
  readonly ignoreFailure: boolean;
}

/** Changes of containers that plugins want, in the order of the first wish for each. */
export class Updates {
  readonly owners = new Map<string, Owners>();
  readonly #wanted = new Map<string, WantedUpdate>();
  readonly #evicted = new Map<string, string>();
  readonly #creating: string | undefined;

  /** `creating` is the container that cannot be changed this way, because it is not there yet. */
  constructor(creating?: string) {
    this.#creating = creating;
  }

  /** Throws where two plugins want different values for the same limit of a container. */
  add(
    plugin: string,
    response: {
      readonly update: readonly nri.ContainerUpdate[];
      readonly evict?: readonly nri.ContainerEviction[];
    },
  ): void {
    const { update, evict = [] } = response;
    if (update.length + evict.length > maxUpdates) {
      throw invalidArgument(`NRI plugin ${plugin} wants more than ${maxUpdates} updates`);
    }
    for (const one of update) this.#addUpdate(plugin, one);
    for (const { containerId, reason } of evict) {
      this.#evicted.set(containerId, `${plugin}: ${reason}`);
    }
  }

  #addUpdate(plugin: string, { containerId, linux, ignoreFailure }: nri.ContainerUpdate): void {
    if (containerId === this.#creating) {
      throw failedPrecondition(`NRI plugin ${plugin} updates the container that is being created`);
    }
    const owners = this.owners.get(containerId) ?? new Owners();
    this.owners.set(containerId, owners);
    const before = this.#wanted.get(containerId);
    try {
      const resources = mergeResources(
        before?.resources ?? create(nri.LinuxResourcesSchema),
        linux?.resources ?? create(nri.LinuxResourcesSchema),
        (claim) => owners.claim(claim, plugin),
      );
      const isOptional = (before?.ignoreFailure ?? true) && ignoreFailure;
      this.#wanted.set(containerId, { containerId, resources, ignoreFailure: isOptional });
    } catch (err) {
      if (!ignoreFailure) throw err;
    }
  }

  get wanted(): readonly WantedUpdate[] {
    return [...this.#wanted.values()];
  }

  /** What is wanted of one container so far. */
  of(containerId: string): nri.LinuxResources | undefined {
    return this.#wanted.get(containerId)?.resources;
  }

  /** The same, which is then the caller's business. */
  take(containerId: string): nri.LinuxResources | undefined {
    const resources = this.of(containerId);
    this.#wanted.delete(containerId);
    return resources;
  }

  /** Containers to stop, with the reason. */
  get evicted(): ReadonlyMap<string, string> {
    return this.#evicted;
  }
}
