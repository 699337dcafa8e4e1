import { protocols } from "../../container/cri.ts";
import type { Attachment } from "../../network/cni/attachment.ts";
import type { Sandbox } from "../sandbox.ts";
import { sandboxDirectoryOf } from "./directory.ts";

/** What the network gets to know of a pod. `netns` is undefined when a reboot has taken the namespace away. */
export function attachmentOf(stateDir: string, sandbox: Sandbox, hasNetns: boolean): Attachment {
  const { config, id } = sandbox;
  return {
    sandboxId: id,
    netnsPath: hasNetns ? sandboxDirectoryOf(stateDir, id).netns : undefined,
    netnsIdentity: sandbox.namespaces?.["net"],
    podName: config.metadata?.name ?? "",
    podNamespace: config.metadata?.namespace ?? "",
    podUid: config.metadata?.uid ?? "",
    portMappings: config.portMappings
      .filter(({ hostPort }) => hostPort > 0)
      .map((mapping) => ({
        protocol: protocols[mapping.protocol] ?? String(mapping.protocol),
        containerPort: mapping.containerPort,
        hostPort: mapping.hostPort,
        hostIp: mapping.hostIp,
      })),
    annotations: config.annotations,
    dns: {
      servers: config.dnsConfig?.servers ?? [],
      searches: config.dnsConfig?.searches ?? [],
      options: config.dnsConfig?.options ?? [],
    },
    cgroupParent: config.linux?.cgroupParent ?? "",
  };
}
