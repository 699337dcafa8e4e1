import type { LogFields } from "../../lib/log.ts";

const maxFieldLength = 256;

/**
 * What a request or a response is about, for the log: ids and names only, never env, auth or annotations.
 * Reads the few fields that CRI messages share, whatever the message is.
 */
export function subjectOf(message: object): LogFields {
  const { podSandboxId, containerId, image, config } = message as Shared;
  const metadata = config?.metadata;
  const pod =
    metadata?.namespace === undefined ? undefined : `${metadata.namespace}/${metadata.name}`;
  return {
    ...field("sandbox", podSandboxId),
    ...field("container", containerId),
    ...field("image", image?.image ?? config?.image?.image),
    ...field("pod", pod),
    ...field("name", pod === undefined ? metadata?.name : undefined),
  };
}

interface Shared {
  readonly podSandboxId?: string;
  readonly containerId?: string;
  readonly image?: { readonly image?: string };
  readonly config?: {
    readonly metadata?: { readonly name?: string; readonly namespace?: string };
    readonly image?: { readonly image?: string };
  };
}

function field(key: string, value: unknown): LogFields {
  return typeof value === "string" && value !== "" ? { [key]: value.slice(0, maxFieldLength) } : {};
}
