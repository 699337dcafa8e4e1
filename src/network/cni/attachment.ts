import { isIP } from "node:net";
import { invalidArgument, kindOf } from "../../lib/errors.ts";
import type { SandboxId } from "../../lib/id.ts";
import { asBandwidth, type PodBandwidth } from "./bandwidth.ts";

/** A host port of a pod. An entry whose `hostPort` is 0 asks for nothing. */
export interface PortMapping {
  /** `tcp`, `udp` or `sctp`; anything else is refused by `checkAttachment`. */
  readonly protocol: string;
  readonly containerPort: number;
  readonly hostPort: number;
  /** Empty: all addresses of the node. */
  readonly hostIp: string;
}

/** A pod to be connected: everything that a plugin may get to know of it. */
export interface Attachment {
  readonly sandboxId: SandboxId;
  /** Absent when the namespace is gone (after a reboot): only for `detach`. */
  readonly netnsPath: string | undefined;
  /** Which namespace was made for it (`namespaceIdentity`); absent where that is not known. */
  readonly netnsIdentity?: string | undefined;
  readonly podName: string;
  readonly podNamespace: string;
  readonly podUid: string;
  readonly portMappings: readonly PortMapping[];
  /** Of these the network obeys `kubernetes.io/ingress-bandwidth` and `egress-bandwidth`. */
  readonly annotations: Readonly<Record<string, string>>;
  readonly dns: {
    readonly servers: readonly string[];
    readonly searches: readonly string[];
    readonly options: readonly string[];
  };
  readonly cgroupParent: string;
}

/** The interface inside the pod. */
export const podInterface = "eth0";

/** What plugins can ask for by declaring a capability (CNI CONVENTIONS.md), by its name there. */
export interface RuntimeConfig {
  readonly portMappings?: readonly object[];
  readonly bandwidth?: PodBandwidth;
  readonly dns?: object;
  readonly cgroupPath?: string;
  /** All annotations of the pod, as containerd and CRI-O call them. */
  readonly "io.kubernetes.cri.pod-annotations"?: Readonly<Record<string, string>>;
}

/**
 * Throws `invalid-argument` for what no plugin can be given. To be called before anything is made for the pod: what is
 * undone later is not judged again.
 */
export function checkAttachment(attachment: Attachment): void {
  runtimeConfigOf(attachment);
  cniArgsOf(attachment);
}

export function runtimeConfigOf(attachment: Attachment): RuntimeConfig {
  const { dns, cgroupParent, annotations } = attachment;
  const portMappings = attachment.portMappings
    .filter(({ hostPort }) => hostPort !== 0)
    .map(checkPortMapping)
    .map(({ protocol, containerPort, hostPort, hostIp }) => ({
      hostPort,
      containerPort,
      protocol,
      ...(hostIp === "" ? {} : { hostIP: hostIp }),
    }));
  const bandwidth = asBandwidth(annotations);
  const hasDns = dns.servers.length + dns.searches.length + dns.options.length > 0;
  return {
    ...(portMappings.length > 0 ? { portMappings } : {}),
    ...(bandwidth === undefined ? {} : { bandwidth }),
    ...(hasDns ? { dns } : {}),
    ...(cgroupParent === "" ? {} : { cgroupPath: cgroupParent }),
    "io.kubernetes.cri.pod-annotations": annotations,
  };
}

/** What of it can be given to plugins, for taking an attachment down: that never refuses what a pod once asked for. */
export function salvage(attachment: Attachment): {
  readonly runtimeConfig: RuntimeConfig;
  readonly cniArgs: string;
} {
  return {
    runtimeConfig: orElse(
      () => runtimeConfigOf(attachment),
      () =>
        runtimeConfigOf({
          ...attachment,
          annotations: {},
          portMappings: attachment.portMappings.filter((mapping) =>
            orElse(
              () => checkPortMapping(mapping) === mapping,
              () => false,
            ),
          ),
        }),
    ),
    cniArgs: orElse(
      () => cniArgsOf(attachment),
      () => cniArgsOf({ ...attachment, podName: "", podNamespace: "", podUid: "" }),
    ),
  };
}

function orElse<T>(read: () => T, instead: () => T): T {
  try {
    return read();
  } catch (err) {
    if (kindOf(err) !== "invalid-argument") throw err;
    return instead();
  }
}

const protocols = ["tcp", "udp", "sctp"];

function checkPortMapping(mapping: PortMapping): PortMapping {
  if (!protocols.includes(mapping.protocol)) {
    throw invalidArgument(`port mapping: unknown protocol ${mapping.protocol}`);
  }
  for (const port of [mapping.hostPort, mapping.containerPort]) {
    if (!Number.isInteger(port) || port < 1 || port > 65535) {
      throw invalidArgument(`port mapping: ${port} is not a port`);
    }
  }
  if (mapping.hostIp !== "" && isIP(mapping.hostIp) === 0) {
    const shown = JSON.stringify(mapping.hostIp.slice(0, 60));
    throw invalidArgument(`port mapping: host address ${shown} is not an IP address`);
  }
  return mapping;
}

/** CNI_ARGS as every Kubernetes runtime sends it. */
export function cniArgsOf(attachment: Attachment): string {
  const pairs = [
    ["IgnoreUnknown", "1"],
    ["K8S_POD_NAMESPACE", attachment.podNamespace],
    ["K8S_POD_NAME", attachment.podName],
    ["K8S_POD_INFRA_CONTAINER_ID", attachment.sandboxId],
    ["K8S_POD_UID", attachment.podUid],
  ] as const;
  return pairs.map(([key, value]) => `${key}=${checkArgument(key, value)}`).join(";");
}

/** `;` and `=` would become further arguments. */
function checkArgument(key: string, value: string): string {
  if (value.length > 512 || /[;=\p{Cc}]/u.test(value)) {
    throw invalidArgument(
      `${key}: ${JSON.stringify(value.slice(0, 100))} cannot be passed to a plugin`,
    );
  }
  return value;
}
