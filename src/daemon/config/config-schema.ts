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
  root: path("/var/lib/crib", "Images, containers' file systems and records; kept over a reboot."),
  state: path("/run/crib", "Sockets, bundles and namespaces; a tmpfs, gone with a reboot."),
  listen: unixAddress("", "Where the CRI is served. Empty: crib.sock in the state directory."),
  sandboxImage: text(
    "registry.k8s.io/pause:3.10.1",
    "What Status reports as the sandbox image. Nothing is pulled: crib needs no such image.",
  ),
  log: {
    level: reloaded(logLevel),
    format: choice(
      "auto",
      ["auto", "json", "text"],
      "How a line looks; auto is text on a terminal and json elsewhere.",
    ),
  },
  cgroup: {
    driver: choice(
      "auto",
      ["auto", "cgroupfs", "systemd"],
      "Who makes cgroups; auto is systemd where it runs the node. The kubelet is told.",
    ),
  },
  runtime: {
    defaultHandler: reloaded(
      text("runc", "The handler of pods that name none (RuntimeClass picks another)."),
    ),
    create: choice(
      "auto",
      ["auto", "runtime"],
      "Who makes containers; auto is crib itself where it knows how (the embedded runc's), else the handler.",
    ),
    exec: choice(
      "auto",
      ["auto", "runtime"],
      "Who runs commands in containers; auto is crib itself where it knows how (the embedded runc's), else the handler.",
    ),
    createTimeoutSeconds: integer(
      240,
      [1, 3600],
      "How long a handler's program may take to create a container.",
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
            "How it is spoken to: oci is a program with runc's command line, shim is containerd's shim API (v2).",
          ),
        ),
        path: reloaded(
          programName(
            "The program. Empty: the embedded one of that name. A shim may also be given by containerd's name, io.containerd.runsc.v1.",
          ),
        ),
        args: reloaded(texts([], "Flags of the program, before those that crib gives it.")),
        configPath: reloaded(
          path(
            "",
            "A file for the runtime behind a shim, in its own format (Kata's configuration.toml, gVisor's runsc.toml).",
          ),
        ),
        config: reloaded(
          lines(
            "The same as text. Of runc's shim: containerd's options (BinaryName, Root, SystemdCgroup, ...).",
          ),
        ),
        configType: reloaded(
          text("", "The type URL that goes with it. Empty: what the shim is known to want."),
        ),
        podAnnotations: reloaded(
          keyPatterns(
            'Annotations of pods that are put into the OCI configuration, where the program may obey them: keys, with * for any characters but / ("run.oci.*").',
          ),
        ),
        containerAnnotations: reloaded(keyPatterns("The same of containers' own annotations.")),
      },
    } satisfies NamedTable<SettingTable>,
  },
  containers: {
    openFiles: integer(
      1024,
      [64, 1_048_576],
      "Files that a process of a container may have open (RLIMIT_NOFILE, soft).",
    ),
    maxOpenFiles: integer(
      524_288,
      [64, 1_073_741_816],
      "Up to which it may raise that itself (hard); never more than the daemon has.",
    ),
    cdiSpecDirs: paths(
      ["/etc/cdi", "/var/run/cdi"],
      "Descriptions of devices (CDI); of two directories the later one wins.",
    ),
    blockioFile: path(
      "",
      "YAML with classes of block I/O limits, which annotations of pods name. Empty: there are none.",
    ),
  },
  network: {
    default: choice(
      "none",
      ["none", "embedded"],
      "The network while conf_dirs hold none: none keeps the node NotReady, embedded is a bridge of crib's own.",
    ),
    confDirs: paths(["/etc/cni/net.d"], "Where CNI network configurations are, first found first."),
    pluginDirs: paths(
      ["/opt/cni/bin"],
      "Where CNI plugins are looked for before the embedded ones.",
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
        "Mirrors, certificates and credentials in k3s's format; the first that is there.",
      ),
    ),
    dockerConfigFiles: reloaded(
      paths(
        ["/etc/crib/docker.json", "/var/lib/kubelet/config.json", "/root/.docker/config.json"],
        "Credentials in the format of Docker's config.json, for pulls that bring none; first found first.",
      ),
    ),
    signaturePolicyFile: reloaded(
      path(
        "",
        "Which images may come in, in the format of containers' policy.json; read at every pull and import. A file that is named here has to be there. Empty: /etc/crib/policy.json or else /etc/containers/policy.json, and where neither is, every image.",
      ),
    ),
    pinned: texts(
      [],
      'Images that the kubelet\'s garbage collection leaves alone: names, with * for any characters ("registry.example/base/*").',
    ),
    importRegistries: registries(
      'Where images of archives seem to come from as well: with "registry.example", docker.io/library/x:1 is also registry.example/library/x:1.',
    ),
    keepBlobs: flag(
      false,
      "Keep layers also as they come from registries, so that mirror, export and pack give images on unchanged, to the digest. False frees them.",
    ),
    maxParallelDownloads: integer(
      3,
      [1, 32],
      "Layers fetched at the same time for one image; of those under 1 MB four times as many.",
    ),
    maxParallelUnpacks: integer(
      0,
      [0, 32],
      "Layers unpacked at the same time, of all images; 0 is a number that fits the machine.",
    ),
    maxBytesPerSecond: reloaded(
      integer(0, [0, 100_000_000_000], "Bandwidth of all downloads together; 0 is no limit."),
    ),
    keepFreePercent: reloaded(
      integer(
        1,
        [0, 99],
        "A pull that would leave less than this share of the layers' disk free fails: it is not images that fill it.",
      ),
    ),
    maxLayerBytes: reloaded(
      integer(
        2 ** 40,
        [1 << 20, 2 ** 50],
        "Size of a layer, uncompressed, and of each file in it with its holes. What bounds a pull is the disk; how well a layer is compressed is no matter.",
      ),
    ),
    maxLayerEntries: reloaded(
      integer(2_000_000, [1000, 100_000_000], "Files, links and directories in a layer."),
    ),
    stallSeconds: reloaded(
      integer(
        60,
        [1, 3600],
        "A download in which nothing comes for so long is tried elsewhere. There is no limit of its whole time.",
      ),
    ),
  },
  mirror: {
    listen: listenAddress(
      "Where this node serves its images to others, as a registry that can only be read. Empty: nowhere. Who can connect has all images.",
    ),
    tlsCertFile: path("", "Certificate of that server, PEM. Empty: plain HTTP."),
    tlsKeyFile: path("", "Its key."),
    peers: reloaded(
      texts(
        [],
        'Other nodes that serve theirs, asked before any registry: URLs ("http://192.0.2.7:5005").',
      ),
    ),
    peersCaFile: reloaded(
      path("", "Authorities for peers with https, besides the node's own, PEM."),
    ),
    peersResolveTags: reloaded(
      choice(
        "yes",
        ["yes", "no"],
        "Whether a tag is what the first peer says that has it; if not, registries are asked what it is.",
      ),
    ),
  },
  proxy: {
    http: reloaded(text("", "Proxy for http registries. Empty: the environment's HTTP_PROXY.")),
    https: reloaded(text("", "Proxy for https registries. Empty: the environment's HTTPS_PROXY.")),
    none: reloaded(
      texts(
        [],
        "Hosts that are reached directly: names and all below them, addresses, ranges. Empty: the environment's NO_PROXY.",
      ),
    ),
  },
  streaming: {
    address: socketAddress(
      "127.0.0.1:0",
      "Where exec, attach and port-forward are served. Only the kubelet of this node comes; the kernel chooses port 0.",
    ),
    tlsCertFile: path("", "Certificate of the streaming server, PEM. Empty: plain HTTP."),
    tlsKeyFile: path("", "Its key. Both are read again when they change."),
  },
  metrics: {
    address: listenAddress(
      'Where /metrics, /healthz and /readyz are served by HTTP ("127.0.0.1:9753"). Empty: nowhere. Who can connect can read them.',
    ),
    pods: flag(
      false,
      "Whether /metrics also has the metrics of pods and containers, under cAdvisor's names. A kubelet serves the same under /metrics/cadvisor.",
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
      "Where plugins connect; not served while somebody else does. Only root may.",
    ),
    pluginPath: path(
      "/opt/nri/plugins",
      "Plugins that are started with the daemon: programs of root's called NN-name.",
    ),
    pluginConfigPath: path(
      "/etc/nri/conf.d",
      "What they are configured with: NN-name.conf or name.conf.",
    ),
    registrationTimeoutMs: integer(
      5000,
      [100, 600_000],
      "How long a plugin may take to register, and to be told of everything that is there.",
    ),
    requestTimeoutMs: integer(
      2000,
      [10, 600_000],
      "How long a plugin may take over one event. One that takes longer is disconnected.",
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
      "How long a stopping daemon waits for calls that are under way. Containers run on.",
    ),
    streamsPerConnection: integer(250, [8, 10_000], "Calls under way on one connection."),
  },
} as const satisfies SettingTable;

export type FileConfig = Values<typeof schema>;
