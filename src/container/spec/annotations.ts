import type * as pb from "../../gen/runtime/v1/api_pb.ts";
import type { SandboxId } from "../../lib/id.ts";

export type Annotations = Readonly<Record<string, string>>;

/** Which annotations of clients a runtime handler is shown: patterns of their keys, as in Go's path.Match. */
export interface AnnotationPatterns {
  readonly pod: readonly string[];
  readonly container: readonly string[];
}

export const noPatterns: AnnotationPatterns = { pod: [], container: [] };

interface Pod {
  readonly sandboxId: SandboxId;
  readonly config: pb.PodSandboxConfig;
}

/**
 * The annotations of a container's config.json. OCI runtimes, their wrappers and hooks learn from them what the
 * container is in Kubernetes; keys and values are containerd's. Of what clients write only those keys get in that the
 * handler lets through, since some OCI runtimes obey annotations.
 */
export function containerAnnotations(
  pod: Pod,
  container: { readonly config: pb.ContainerConfig; readonly imageName: string },
  patterns: AnnotationPatterns,
): Annotations {
  return {
    ...letThrough(pod.config.annotations, patterns.pod),
    ...letThrough(container.config.annotations, patterns.container),
    ...podAnnotations(pod, "container"),
    "io.kubernetes.cri.container-name": container.config.metadata?.name ?? "",
    "io.kubernetes.cri.image-name": container.imageName,
  };
}

/** The same of the process that holds a pod's PID namespace. */
export function infraAnnotations(pod: Pod, patterns: AnnotationPatterns): Annotations {
  return {
    ...letThrough(pod.config.annotations, patterns.pod),
    ...podAnnotations(pod, "sandbox"),
    ...sizeAnnotations(pod),
  };
}

/** What a machine for the pod is sized by; nothing where the client has not said it. */
function sizeAnnotations({ config }: Pod): Annotations {
  const { cpuPeriod, cpuQuota, cpuShares, memoryLimitInBytes } = config.linux?.resources ?? {};
  const sizes = {
    "cpu-period": cpuPeriod,
    "cpu-quota": cpuQuota,
    "cpu-shares": cpuShares,
    memory: memoryLimitInBytes,
  };
  return Object.fromEntries(
    Object.entries(sizes)
      .filter(([, value]) => value !== undefined && value !== 0n)
      .map(([name, value]) => [`io.kubernetes.cri.sandbox-${name}`, String(value)]),
  );
}

function podAnnotations({ sandboxId, config }: Pod, type: "container" | "sandbox"): Annotations {
  const { name = "", namespace = "", uid = "" } = config.metadata ?? {};
  return {
    "io.kubernetes.cri.container-type": type,
    "io.kubernetes.cri.sandbox-id": sandboxId,
    "io.kubernetes.cri.sandbox-name": name,
    "io.kubernetes.cri.sandbox-namespace": namespace,
    "io.kubernetes.cri.sandbox-uid": uid,
    "io.kubernetes.cri.sandbox-log-directory": config.logDirectory,
  };
}

function letThrough(annotations: Annotations, patterns: readonly string[]): Annotations {
  if (patterns.length === 0) return {};
  const expressions = patterns.map(parseKeyPattern);
  return Object.fromEntries(
    Object.entries(annotations).filter(([key]) =>
      expressions.some((expression) => expression?.test(key)),
    ),
  );
}

/**
 * A pattern of Go's path.Match: `*` and `?` stand for characters other than `/`, `[a-z]` and `[^a-z]` for one of a
 * set, a backslash takes the next character as it is. `undefined` for text that is no such pattern.
 */
export function parseKeyPattern(pattern: string): RegExp | undefined {
  const parts = /^(?:\*+|\?|\\.|\[\^?(?:\\.|[^\]\\])+\]|[^*?\\[])*$/su;
  if (!parts.test(pattern)) return undefined;
  const source = pattern.replaceAll(/\*+|\?|\\.|\[\^?(?:\\.|[^\]\\])+\]|[^*?\\[]/gsu, (part) => {
    if (part.startsWith("*")) return "[^/]*";
    if (part === "?") return "[^/]";
    if (part.startsWith("[") && part.length > 1) return setOf(part);
    return literal(part.startsWith("\\") ? part.slice(1) : part);
  });
  try {
    return new RegExp(`^${source}$`, "su");
  } catch {
    return undefined; // a range whose end is before its beginning
  }
}

function setOf(part: string): string {
  const isNegated = part[1] === "^";
  const members = part.slice(isNegated ? 2 : 1, -1);
  const escaped = members.replaceAll(/\\.|[^\\]/gsu, (member) =>
    member === "-" ? "-" : literal(member.startsWith("\\") ? member.slice(1) : member),
  );
  return `[${isNegated ? "^" : ""}${escaped}]`;
}

/** One character that stands for itself, inside and outside of a set. */
function literal(character: string): string {
  return `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`;
}
