import { nodePaths } from "../../lib/node-paths.ts";
import {
  choice,
  flag,
  integer,
  keyPatterns,
  lines,
  listenAddress,
  logLevel,
  type NamedTable,
  path,
  paths,
  programName,
  registries,
  reloaded,
  type SettingTable,
  socketAddress,
  text,
  texts,
  unixAddress,
  type Values,
} from "./setting.ts";

/**
 * Every setting there is, in the order of `crib config default`. The parser, the default text and the type
 * `Config` are all made from this table. A key `maxParallel` is written `max_parallel` in the file.
 */
export const schema = {
  root: path(
    nodePaths.root,
    "Directory of images, containers' file systems and records; it survives reboots.",
  ),
  state: path(
    nodePaths.state,
    "Directory of sockets, bundles and namespaces, on a tmpfs; a reboot empties it.",
  ),
  listen: unixAddress("", "Address of the CRI socket. Empty: crib.sock in the state directory."),
  sandboxImage: text(
    "registry.k8s.io/pause:3.10.1",
    "The sandbox image that Status reports. It is never pulled: crib needs no such image.",
  ),
  log: {
    level: reloaded(logLevel),
    format: choice(
      "auto",
      ["auto", "json", "text"],
      "Format of log lines; auto is text on a terminal and json elsewhere.",
    ),
  },
  cgroup: {
    driver: choice(
      "auto",
      ["auto", "cgroupfs", "systemd"],
      "Who creates cgroups; auto is systemd where systemd runs the node. The kubelet learns it from RuntimeConfig.",
    ),
  },
  runtime: {
    defaultHandler: reloaded(text("runc", "The handler of pods without a RuntimeClass.")),
    create: choice(
      "auto",
      ["auto", "runtime"],
      "Who creates containers; auto is crib itself for those of the embedded runc that it can create, else the handler's program.",
    ),
    exec: choice(
      "auto",
      ["auto", "runtime"],
      "Who runs commands in containers; auto is crib itself for those of the embedded runc that it can run, else the handler's program.",
    ),
    createTimeoutSeconds: integer(
      240,
      [1, 3600],
      "Time limit for a handler's program to create a container.",
    ),
    handlers: {
      kind: "named",
      doc: "A runtime handler: an OCI command line, or a containerd shim. More can be added, each with a table of its own.",
      builtin: ["runc", "crun"],
      entry: {
        type: reloaded(
          choice(
            "oci",
            ["oci", "shim"],
            "The interface: oci is a program with runc's command line, shim is containerd's shim API (v2).",
          ),
        ),
        path: reloaded(
          programName(
            "Path of the program. Empty: the embedded one of that name. A shim can also be given by its name in containerd, io.containerd.runsc.v1.",
          ),
        ),
        args: reloaded(texts([], "Flags of the program; they come before crib's own.")),
        configPath: reloaded(
          path(
            "",
            "Configuration file of the runtime behind a shim, in its own format (Kata's configuration.toml, gVisor's runsc.toml).",
          ),
        ),
        config: reloaded(
          lines(
            "The same, inline. For runc's shim: containerd's options (BinaryName, Root, SystemdCgroup, ...).",
          ),
        ),
        configType: reloaded(
          text("", "Type URL of the options. Empty: the one that the shim is known to expect."),
        ),
        podAnnotations: reloaded(
          keyPatterns(
            'Annotations of pods that are passed to the runtime in the OCI configuration: keys, in which * stands for any characters but / ("run.oci.*").',
          ),
        ),
        containerAnnotations: reloaded(keyPatterns("The same for annotations of containers.")),
      },
    } satisfies NamedTable<SettingTable>,
  },
  containers: {
    openFiles: integer(
      1024,
      [64, 1_048_576],
      "Soft limit of open files (RLIMIT_NOFILE) of a container's processes.",
    ),
    maxOpenFiles: integer(
      524_288,
      [64, 1_073_741_816],
      "Hard limit of open files, up to which a process can raise its own; never more than the daemon's.",
    ),
    cdiSpecDirs: paths(
      ["/etc/cdi", "/var/run/cdi"],
      "Directories of CDI specifications; where two define a device, the later directory wins.",
    ),
    blockioFile: path(
      "",
      "YAML file with classes of block I/O limits, which annotations of pods refer to. Empty: no classes.",
    ),
  },
  network: {
    default: choice(
      "none",
      ["none", "embedded"],
      "The network while conf_dirs have no configuration: none keeps the node NotReady, embedded is crib's own bridge network.",
    ),
    confDirs: paths(
      [nodePaths.cniConfigs],
      "Directories of CNI network configurations; the first configuration that is found is used.",
    ),
    pluginDirs: paths(
      ["/opt/cni/bin"],
      "Directories that are searched for CNI plugins before the embedded ones.",
    ),
  },
  images: {
    registryConfigDirs: reloaded(
      paths(
        ["/etc/crib/certs.d", "/etc/containerd/certs.d"],
        "Mirrors and certificates by registry, in containerd's format: <dir>/<host>/hosts.toml.",
      ),
    ),
    registriesFiles: reloaded(
      paths(
        ["/etc/crib/registries.yaml", "/etc/rancher/k3s/registries.yaml"],
        "Mirrors, certificates and credentials in k3s's format; the first file that exists is read.",
      ),
    ),
    dockerConfigFiles: reloaded(
      paths(
        ["/etc/crib/docker.json", "/var/lib/kubelet/config.json", "/root/.docker/config.json"],
        "Credentials in the format of Docker's config.json, for pulls without credentials of their own; the first match is used.",
      ),
    ),
    signaturePolicyFile: reloaded(
      path(
        "",
        "Signature policy in the format of policy.json (containers-policy.json(5)), read at every pull and import. A file that is named here must exist. Empty: /etc/crib/policy.json or else /etc/containers/policy.json; where neither exists, every image is accepted.",
      ),
    ),
    pinned: texts(
      [],
      'Images that the kubelet\'s garbage collection does not remove: names, in which * stands for any characters ("registry.example/base/*").',
    ),
    importRegistries: registries(
      'Registries under whose names images from archives are known as well: with "registry.example", docker.io/library/x:1 is also registry.example/library/x:1.',
    ),
    keepBlobs: flag(
      false,
      "Whether compressed layers are retained, so that peers, exports and packed executables get images unchanged, with the same digests. False frees them.",
    ),
    maxParallelDownloads: integer(
      3,
      [1, 32],
      "Layers of one image that are downloaded at the same time; four times as many of those under 1 MB.",
    ),
    maxParallelUnpacks: integer(
      0,
      [0, 32],
      "Layers of all images that are unpacked at the same time; 0 chooses by the number of cores.",
    ),
    maxBytesPerSecond: reloaded(
      integer(0, [0, 100_000_000_000], "Bandwidth limit of all downloads together; 0 is no limit."),
    ),
    keepFreePercent: reloaded(
      integer(
        1,
        [0, 99],
        "Share of the layers' disk that images leave free: a pull that would leave less fails.",
      ),
    ),
    maxLayerBytes: reloaded(
      integer(
        2 ** 40,
        [1 << 20, 2 ** 50],
        "Largest size of an uncompressed layer, and of each file in it, holes included.",
      ),
    ),
    maxLayerEntries: reloaded(
      integer(
        2_000_000,
        [1000, 100_000_000],
        "Largest number of files, links and directories in a layer.",
      ),
    ),
    stallSeconds: reloaded(
      integer(
        60,
        [1, 3600],
        "A download that receives nothing for this time is retried elsewhere. Its total time is not limited.",
      ),
    ),
  },
  mirror: {
    listen: listenAddress(
      "Address at which this node serves its images to peers, as a read-only registry. Empty: not served. Whoever can connect can read all images.",
    ),
    tlsCertFile: path("", "Certificate of that server, PEM. Empty: plain HTTP."),
    tlsKeyFile: path("", "Its key."),
    peers: reloaded(
      texts(
        [],
        'Nodes that serve their images, asked before any registry: URLs ("http://192.0.2.7:5005").',
      ),
    ),
    peersCaFile: reloaded(
      path("", "Certificate authorities for peers with https, besides the node's own, PEM."),
    ),
    peersResolveTags: reloaded(
      choice(
        "yes",
        ["yes", "no"],
        "Whether the first peer that has a tag decides what it refers to; otherwise the registry does.",
      ),
    ),
  },
  proxy: {
    http: reloaded(text("", "Proxy for http registries. Empty: HTTP_PROXY of the environment.")),
    https: reloaded(text("", "Proxy for https registries. Empty: HTTPS_PROXY of the environment.")),
    none: reloaded(
      texts(
        [],
        "Hosts that are reached without a proxy: domains with their subdomains, addresses, ranges. Empty: NO_PROXY of the environment.",
      ),
    ),
  },
  streaming: {
    address: socketAddress(
      "127.0.0.1:0",
      "Address of the server for exec, attach and port-forward. Only the kubelet of this node connects to it; with port 0 the kernel chooses a port.",
    ),
    tlsCertFile: path("", "Certificate of the streaming server, PEM. Empty: plain HTTP."),
    tlsKeyFile: path("", "Its key. Both files are read again when they change."),
  },
  metrics: {
    address: listenAddress(
      'Address at which /metrics, /healthz and /readyz are served over HTTP ("127.0.0.1:9753"). Empty: not served. Whoever can connect can read them.',
    ),
    pods: flag(
      false,
      "Whether /metrics includes metrics of pods and containers, under cAdvisor's names. A kubelet serves the same under /metrics/cadvisor.",
    ),
  },
  traces: {
    endpoint: text(
      "",
      'Where spans of calls and their steps go by OTLP ("http://127.0.0.1:4318"). Empty: where OTEL_EXPORTER_OTLP_TRACES_ENDPOINT or OTEL_EXPORTER_OTLP_ENDPOINT of the environment say, else nowhere.',
    ),
    protocol: choice(
      "http/protobuf",
      ["http/protobuf", "grpc"],
      "What the collector speaks there.",
    ),
    samplePercent: integer(
      100,
      [0, 100],
      "Of calls whose client has not decided itself: how many are traced.",
    ),
  },
  nri: {
    enable: flag(
      true,
      "Node Resource Interface: let plugins follow and change containers. They run with the rights of this daemon.",
    ),
    socketPath: path(
      "/var/run/nri/nri.sock",
      "Socket to which plugins connect; only root can. It is not served while another runtime serves it.",
    ),
    pluginPath: path(
      "/opt/nri/plugins",
      "Directory of plugins that the daemon starts: programs owned by root, named NN-name.",
    ),
    pluginConfigPath: path(
      "/etc/nri/conf.d",
      "Directory of their configurations: NN-name.conf or name.conf.",
    ),
    registrationTimeoutMs: integer(
      5000,
      [100, 600_000],
      "Time limit for a plugin to register and to take in the pods and containers that exist.",
    ),
    requestTimeoutMs: integer(
      2000,
      [10, 600_000],
      "Time limit of a plugin for one event. A plugin that takes longer is disconnected.",
    ),
    defaultValidator: {
      enable: flag(false, "Check what plugins do to new containers."),
      rejectOciHookAdjustment: flag(false, "Plugins may not add OCI hooks."),
      rejectRuntimeDefaultSeccompAdjustment: flag(
        false,
        "Plugins may not change the seccomp policy of containers that have the default one.",
      ),
      rejectUnconfinedSeccompAdjustment: flag(false, "Nor of containers that have none."),
      rejectCustomSeccompAdjustment: flag(false, "Nor of containers that have one of their own."),
      rejectNamespaceAdjustment: flag(false, "Plugins may not change namespaces."),
      rejectSysctlAdjustment: flag(false, "Plugins may not change sysctls."),
      requiredPlugins: texts(
        [],
        "Plugins, by name without NN, without which no container is created. Static pods need the annotation below.",
      ),
      tolerateMissingPluginsAnnotation: text(
        "",
        'Annotation of pods that can do without required plugins: "true" for the pod, or with /container.NAME.',
      ),
    },
  },
  checkpoint: {
    restoreFrom: paths(
      [],
      "Directories with checkpoint archives that containers may be restored from; empty: none is. CRIU reads an archive as root and makes what is in it: name only directories that nobody but administrators and the kubelet write to (SECURITY.md).",
    ),
    maxBytes: integer(
      68_719_476_736,
      [1_048_576, 2 ** 50],
      "How large an archive that is restored may be, and what it holds.",
    ),
  },
  compat: {
    containerdSocket: path(
      "",
      "Where a kubelet's cAdvisor finds the names of containers for /metrics/cadvisor, by three read-only calls of containerd's API: /run/containerd/containerd.sock. With it new pods get a process of their own, by which cAdvisor finds their network. Empty: nowhere, since kubeadm takes such a socket for containerd.",
    ),
  },
  limits: {
    shutdownSeconds: integer(
      10,
      [0, 600],
      "How long a daemon that is stopping waits for calls in progress. Containers keep running.",
    ),
    streamsPerConnection: integer(250, [8, 10_000], "Calls in progress on one connection."),
  },
} as const satisfies SettingTable;

export type FileConfig = Values<typeof schema>;
