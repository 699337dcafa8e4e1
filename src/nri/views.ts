import type { Container } from "../container/container.ts";
import type { SandboxId } from "../lib/id.ts";
import type { NriDomain } from "./domain.ts";
import {
  type ContainerMessage,
  type ContainerView,
  toContainerMessage,
} from "./message/container.ts";
import { type PodMessage, toPodMessage } from "./message/pod.ts";

/** What plugins get to know of a container that is there. */
export function viewOf(domain: NriDomain, container: Container): ContainerView {
  const { id, imageId } = container;
  return { ...container, image: domain.findImage(imageId), spec: domain.readSpec(id) };
}

export interface AboutContainer {
  readonly pod?: PodMessage;
  readonly container: ContainerMessage;
}

/** A container with its pod, as events about containers have them. */
export function about(domain: NriDomain, view: ContainerView): AboutContainer {
  const sandbox = domain.findSandbox(view.sandboxId as SandboxId);
  const container = toContainerMessage(view);
  return sandbox === undefined
    ? { container }
    : { pod: toPodMessage(domain.stateDir, sandbox), container };
}
