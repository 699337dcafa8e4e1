import * as pb from "../../../src/gen/runtime/v1/api_pb.ts";
import type { Hints } from "./mutations.ts";

const bandwidths = ["garbage", "1", "0", "", "-5M", "100P", "10M", "1.5G", " 1M ", "1E", "9e9"];
const annotations = [
  ...bandwidths.map((rate) => ({ "kubernetes.io/ingress-bandwidth": rate })),
  ...bandwidths.map((rate) => ({ "kubernetes.io/egress-bandwidth": rate })),
  { "cdi.k8s.io/x": "vendor0.com/device=a" },
  { "cdi.k8s.io/x": "nonsense" },
  { "io.kubernetes.cri.rdt-class": "gold" },
  { "blockio.resources.beta.kubernetes.io/pod": "none" },
  { "run.oci.keep_original_groups": "1" },
];
const namespaces = [pb.NamespaceMode.POD, pb.NamespaceMode.CONTAINER, pb.NamespaceMode.NODE].map(
  (pid) => ({
    $typeName: "runtime.v1.NamespaceOption" as const,
    network: pb.NamespaceMode.POD,
    ipc: pb.NamespaceMode.POD,
    pid,
    targetId: "",
  }),
);
const paths = [
  "/tmp",
  "/tmp/crib-no-such",
  "relative",
  "/",
  "/proc",
  "/dev/null",
  "/etc/passwd",
  "/a/../b",
];

function mapping(protocol: number, containerPort: number, hostPort: number, hostIp: string) {
  const $typeName = "runtime.v1.PortMapping" as const;
  return { $typeName, protocol, containerPort, hostPort, hostIp };
}

/** What pods ask for. */
export const podHints: Hints = {
  cgroup_parent: [
    ...["", "/", "//", "/a b", "/crib-test/a", "crib-test/b", "/crib-test/c/", "a//b", "."],
    ...["kubepods.slice", "/kubepods.slice", "/kubepods.slice/kubepods-a.slice", "-.slice"],
    ...["a-.slice", "/x/kubepods-a.slice", "system.slice:crib:x", "/é", `/${"x".repeat(256)}`],
    `/${"a/".repeat(1000)}`,
  ],
  annotations,
  sysctls: [
    { "net.ipv4.ip_forward": "1" },
    { "net.ipv4.ip_forward": "garbage" },
    { "net/ipv4/conf/eth0.1/forwarding": "1" },
    { "net.ipv4.conf.eth0.rp_filter": "2" },
    { "net.no.such": "1" },
    { "kernel.shmmax": "1000000" },
    { "kernel.shmmax": "-" },
    { "kernel.panic": "1" },
    { "vm.swappiness": "1" },
    { "fs.mqueue.msg_max": "100" },
    { "kernel.domainname": "example" },
    { "": "" },
    { "net..ipv4": "1" },
    { "net.ipv4.tcp_rmem": "4096\t87380\t6291456" },
  ],
  port_mappings: [
    [mapping(0, 80, 18_080, "")],
    [mapping(1, 53, 18_053, "127.0.0.1")],
    [mapping(2, 80, 18_081, "")],
    [mapping(7, 80, 18_082, "")],
    [mapping(0, 0, 18_083, "")],
    [mapping(0, -1, 70_000, "")],
    [mapping(0, 80, 0, "nonsense")],
    [mapping(0, 80, 18_084, "::1")],
    [mapping(0, 80, 18_085, "192.0.2.1")],
    [mapping(0, 80, 18_086, ""), mapping(0, 81, 18_086, "")],
    [mapping(0, 80, 18_087, "fe80::1%eth0")],
  ],
  namespace_options: namespaces,
  log_directory: ["", "relative", "/proc/1", "/dev/null/x", "/etc/passwd", "/tmp/../x", "/"],
  hostname: ["", "a", "a.b", "a b", "x".repeat(64), "x".repeat(65), "-", "é"],
  "metadata.namespace": ["a;b", "a=b", "x".repeat(600), "/", "..", "default"],
  "metadata.name": ["a;b", "a=b", "x".repeat(600), "/", "..", "y".repeat(1024)],
  "metadata.uid": ["a;b", "", "x".repeat(600)],
  servers: [["127.0.0.1"], ["a b"], ["::1"], [""], ["x".repeat(256)], ["1\nnameserver 2"]],
  searches: [["a.b"], ["."], ["a b"], [""]],
  options: [["ndots:5"], [""], ["a b"]],
};

/** What containers ask for. */
export const containerHints: Hints = {
  annotations,
  namespace_options: namespaces,
  command: [["/bin/sleep", "1000"], [""], ["/no/such"], ["/etc"], ["a\0b"], ["sleep"], []],
  args: [["x"], [""], ["x".repeat(140_000)]],
  working_dir: ["/tmp", "tmp", "/no/such", "/etc/passwd", "/bin/sleep/x", "..", "/proc/self/fd/9"],
  log_path: ["", "a.log", "../a", "/a", "a/b/c.log", "a\nb", "x".repeat(300), ".", "a/"],
  mounts: paths.flatMap((hostPath) =>
    ["/mnt", "/etc/hosts", "/", "/proc", "/dev", "relative"].map((containerPath) => [
      {
        $typeName: "runtime.v1.Mount" as const,
        ...{ hostPath, containerPath, readonly: true, selinuxRelabel: false, propagation: 0 },
        ...{ uidMappings: [], gidMappings: [], recursiveReadOnly: false, imageSubPath: "" },
        mountOptions: [],
      },
    ]),
  ),
  devices: paths.map((hostPath) => [
    {
      $typeName: "runtime.v1.Device" as const,
      ...{ hostPath, containerPath: "/dev/x", permissions: "rw" },
    },
  ]),
  CDI_devices: [
    [{ $typeName: "runtime.v1.CDIDevice" as const, name: "vendor0.com/device=a" }],
    [{ $typeName: "runtime.v1.CDIDevice" as const, name: "nonsense" }],
  ],
  envs: [
    [{ $typeName: "runtime.v1.KeyValue" as const, key: "A", value: Buffer.from("b") }],
    [{ $typeName: "runtime.v1.KeyValue" as const, key: "", value: Buffer.from("b") }],
    [{ $typeName: "runtime.v1.KeyValue" as const, key: "A=B", value: Buffer.from([255]) }],
  ],
  run_as_username: ["root", "nobody", "no-such", "0", "0:0", "-1", "x".repeat(300)],
  cpuset_cpus: ["0", "0-1", "99", "a", "0,,1", "-", " "],
  cpuset_mems: ["0", "7", "a"],
  hugepage_limits: [
    [{ $typeName: "runtime.v1.HugepageLimit" as const, pageSize: "2MB", limit: 1n << 21n }],
    [{ $typeName: "runtime.v1.HugepageLimit" as const, pageSize: "3MB", limit: 1n << 21n }],
    [{ $typeName: "runtime.v1.HugepageLimit" as const, pageSize: "x", limit: 0n }],
  ],
  seccomp_profile_path: ["", "runtime/default", "unconfined", "localhost//no/such", "garbage"],
  localhost_ref: ["", "/no/such", "/etc/passwd", "localhost/x"],
  "capabilities.add_capabilities": [["ALL"], ["NET_ADMIN"], ["CAP_NET_ADMIN"], ["NO_SUCH"], [""]],
  "capabilities.drop_capabilities": [["ALL"], ["NET_RAW"], ["NO_SUCH"]],
  masked_paths: [["/proc/kcore"], ["relative"], ["/"], [""]],
  readonly_paths: [["/proc/sys"], ["relative"], ["/"], [""]],
  target_id: ["", "x", "0".repeat(64)],
  image: [
    { $typeName: "runtime.v1.ImageSpec" as const, image: "crib.local/demo:1" },
    { $typeName: "runtime.v1.ImageSpec" as const, image: "no/such:1" },
  ].map((image) => ({
    ...image,
    ...{ annotations: {}, userSpecifiedImage: "", runtimeHandler: "" },
  })),
};
