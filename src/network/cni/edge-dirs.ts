import { nodePaths } from "../../lib/node-paths.ts";

/** Where networks are configured and where their plugins are. */
export interface CniDirs {
  readonly confDirs: readonly string[];
  readonly pluginDirs: readonly string[];
}

/** Distributions that keep their network apart: k3s (before and since its `data/cni`), MicroK8s. */
const edge: CniDirs = {
  confDirs: [
    "/var/lib/rancher/k3s/agent/etc/cni/net.d",
    "/var/snap/microk8s/current/args/cni-network",
  ],
  pluginDirs: [
    "/var/lib/rancher/k3s/data/cni",
    "/var/lib/rancher/k3s/data/current/bin",
    "/var/snap/microk8s/current/opt/cni/bin",
    "/usr/lib/cni",
    "/usr/libexec/cni",
  ],
};

/**
 * The given directories and, after them, those of edge distributions: crib runs under their kubelets without being configured. Only where the
 * standard directory is among them: an administrator who names others wants these.
 */
export function withEdgeDirs({ confDirs, pluginDirs }: CniDirs): CniDirs {
  if (!confDirs.includes(nodePaths.cniConfigs)) return { confDirs, pluginDirs };
  return {
    confDirs: [...new Set([...confDirs, ...edge.confDirs])],
    pluginDirs: [...new Set([...pluginDirs, ...edge.pluginDirs])],
  };
}
