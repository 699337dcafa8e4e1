import { nodePaths } from "../lib/node-paths.ts";
import { type NodeFile, socket } from "./node-files.ts";

/** What other programs of the node need as configuration, ready to be pasted. */
export function kubeletHints(): readonly (readonly [who: string, what: string])[] {
  return [
    ["kubelet (configuration file)", `containerRuntimeEndpoint: ${socket}`],
    ["kubelet (flag)", `--container-runtime-endpoint=${socket}`],
    ["kubeadm", `kubeadm init --cri-socket=${socket}    # and join`],
    ["k3s, RKE2", `k3s agent --container-runtime-endpoint=${socket}    # and server`],
    ["k0s", `k0s worker --cri-socket=remote:${socket}`],
    [
      "MicroK8s",
      `--container-runtime-endpoint=${socket} in /var/snap/microk8s/current/args/kubelet`,
    ],
  ];
}

export interface NodeView {
  has(path: string): boolean;
  /** The file's text; undefined where there is none. */
  read(path: string): string | undefined;
}

/** The files that tell the kubelets that are on this node of crib, and crib of them, for `--kubelet`. */
export function kubeletFiles(node: NodeView): readonly NodeFile[] {
  const hasOne = (...found: readonly string[]) => found.some((path) => node.has(path));
  const files: NodeFile[] = [];
  if (!hasOne("/usr/bin/containerd", "/usr/local/bin/containerd")) {
    files.push({
      path: `${nodePaths.config}.d/50-kubelet.toml`,
      content: '[compat]\ncontainerd_socket = "/run/containerd/containerd.sock"\n',
      mode: 0o644,
      purpose: "containers and pod networks in the kubelet's /metrics/cadvisor",
    });
  }
  if (hasOne("/usr/bin/kubelet", "/usr/local/bin/kubelet")) {
    // kubeadm's unit reads it, on Debian's relatives and on Red Hat's.
    const path = node.has("/etc/sysconfig") ? "/etc/sysconfig/kubelet" : "/etc/default/kubelet";
    files.push({
      path,
      content: withExtraArgument(node.read(path) ?? "", socket),
      mode: 0o644,
      purpose: "configures the kubelet",
      isOthers: true,
    });
  }
  for (const name of ["k3s", "rke2"]) {
    if (!hasOne(`/usr/local/bin/${name}`, `/usr/bin/${name}`, `/etc/rancher/${name}`)) continue;
    const data = `/var/lib/rancher/${name}`;
    files.push(
      {
        path: `/etc/rancher/${name}/config.yaml.d/50-crib.yaml`,
        content: `container-runtime-endpoint: ${socket}\n`,
        mode: 0o644,
        purpose: `configures ${name}`,
      },
      networkFile(name, {
        confDirs: [`${data}/agent/etc/cni/net.d`, nodePaths.cniConfigs],
        pluginDirs: [`${data}/data/cni`, `${data}/data/current/bin`, "/opt/cni/bin"],
      }),
    );
  }
  const microk8s = "/var/snap/microk8s/current";
  if (node.has(microk8s)) {
    const path = `${microk8s}/args/kubelet`;
    files.push(
      {
        path,
        content: withFlagLine(node.read(path) ?? "", socket),
        mode: 0o660,
        purpose: "configures MicroK8s",
        isOthers: true,
      },
      networkFile("microk8s", {
        confDirs: [`${microk8s}/args/cni-network`, nodePaths.cniConfigs],
        pluginDirs: [`${microk8s}/opt/cni/bin`, "/opt/cni/bin"],
      }),
    );
  }
  return files;
}

/** Where a distribution puts the configuration and the plugins of its network, once it runs. */
function networkFile(
  name: string,
  dirs: { readonly confDirs: readonly string[]; readonly pluginDirs: readonly string[] },
): NodeFile {
  const list = (directories: readonly string[]) =>
    `[${directories.map((path) => JSON.stringify(path)).join(", ")}]`;
  return {
    path: `/etc/crib/config.toml.d/50-${name}.toml`,
    content: `[network]\nconf_dirs = ${list(dirs.confDirs)}\nplugin_dirs = ${list(dirs.pluginDirs)}\n`,
    mode: 0o644,
    purpose: `the network of ${name}`,
  };
}

const flag = "--container-runtime-endpoint";
const flagWithValue = new RegExp(`${flag}[= ][^\\s"']+`, "g");

/** KUBELET_EXTRA_ARGS in a file of shell variables. Its other arguments stay. */
export function withExtraArgument(text: string, endpoint: string): string {
  const argument = `${flag}=${endpoint}`;
  const lines = text === "" ? [] : text.replace(/\n$/, "").split("\n");
  const at = lines.findLastIndex((one) => /^\s*KUBELET_EXTRA_ARGS=/.test(one));
  const line = lines[at];
  if (line === undefined) return `${[...lines, `KUBELET_EXTRA_ARGS="${argument}"`].join("\n")}\n`;
  const value = line.slice(line.indexOf("=") + 1).trim();
  const bare = value.replace(/^(["'])(.*)\1$/, "$2").replace(flagWithValue, "");
  const others = bare.split(/\s+/).filter((word) => word !== "");
  const quote = bare.includes('"') ? "'" : '"';
  lines[at] = `KUBELET_EXTRA_ARGS=${quote}${[...others, argument].join(" ")}${quote}`;
  return `${lines.join("\n")}\n`;
}

/** A file with one flag on each line. */
export function withFlagLine(text: string, endpoint: string): string {
  const lines = text.split("\n").filter((line) => line !== "" && !line.trim().startsWith(flag));
  return `${[...lines, `${flag}=${endpoint}`].join("\n")}\n`;
}
