import { demoImage } from "../pod.ts";
import type { PodManifest } from "./kubelet.ts";
import { nodeAddress } from "./node.ts";

/** Where containers leave notes on the node. */
const out = { name: "out", mountPath: "/out" };
const data = { name: "data", mountPath: "/data" };

/** Pulled by the kubelet, from a registry that mirrors this one. */
export const pulledImage = "registry.k8s.io/e2e-test-images/busybox:1.29-2";

/** Pulled by the test, and used by no pod; the latter is pinned by crib's configuration. */
export const [unusedImage, pinnedImage] = [
  "registry.k8s.io/pause:3.9",
  "registry.k8s.io/pause:3.10.1",
];

/** How many lines the container `lines` writes, in ten seconds. */
export const lineCount = 4000;

export interface PodsOptions {
  /** A directory of the node. */
  readonly outDir: string;
  /** Where the node serves gRPC health checks. */
  readonly healthPort: number;
}

/** The pods of `kubelet.test.ts`: each shows something that a kubelet asks of its runtime. */
export function makePods({ outDir, healthPort }: PodsOptions): readonly PodManifest[] {
  const notes = { name: "out", hostPath: { path: outDir, type: "DirectoryOrCreate" } };
  return [
    pod("web", {
      volumes: [
        notes,
        { name: "data", emptyDir: {} },
        { name: "memory", emptyDir: { medium: "Memory", sizeLimit: "1Mi" } },
        { name: "image", image: { reference: demoImage, pullPolicy: "Never" } },
        {
          name: "about",
          downwardAPI: { items: [{ path: "name", fieldRef: { fieldPath: "metadata.name" } }] },
        },
      ],
      terminationGracePeriodSeconds: 20,
      initContainers: [
        {
          ...container("page", 'echo "page of $POD_NAME" >/data/index.html'),
          env: [{ name: "POD_NAME", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } }],
          volumeMounts: [data],
        },
        {
          ...container(
            "sidecar",
            "touch /data/sidecar; trap 'echo sidecar ends >>/out/order; exit 0' TERM; while :; do sleep 0.1; done",
          ),
          restartPolicy: "Always",
          startupProbe: { ...often, exec: { command: ["test", "-e", "/data/sidecar"] } },
          volumeMounts: [data, out],
        },
      ],
      containers: [
        {
          ...container(
            "httpd",
            "test -e /data/sidecar || exit 9; trap 'echo httpd ends >>/out/order; exit 0' TERM; httpd -f -p 8080 -h /data & wait",
          ),
          ports: [{ containerPort: 8080, hostPort: 18080 }],
          startupProbe: { ...often, exec: { command: ["test", "-e", "/data/index.html"] } },
          livenessProbe: { ...often, httpGet: { port: 8080, path: "/index.html" } },
          readinessProbe: { ...often, tcpSocket: { port: 8080 } },
          lifecycle: {
            postStart: note("post-start"),
            preStop: { exec: { command: ["sh", "-c", "sleep 1; echo pre-stop >>/out/order"] } },
          },
          volumeMounts: [
            data,
            out,
            { name: "memory", mountPath: "/memory" },
            { name: "image", mountPath: "/image" },
            { name: "about", mountPath: "/about" },
          ],
        },
        {
          // Hands what comes on to what serves health checks on the node.
          ...container(
            "grpc",
            `nc -ll -p 50051 -e nc ${nodeAddress} ${healthPort} & trap 'exit 0' TERM; wait`,
          ),
          livenessProbe: { ...often, grpc: { port: 50051 } },
          readinessProbe: { ...often, grpc: { port: 50051, service: "runtime.v1.RuntimeService" } },
        },
      ],
    }),
    pod("crash", {
      containers: [
        container("message", "echo out; echo last words >/dev/termination-log; exit 3"),
        {
          ...container("log", "echo 'said last'; exit 4"),
          terminationMessagePolicy: "FallbackToLogsOnError",
        },
        {
          ...container("memory", "tail /dev/zero"),
          resources: { limits: { memory: "24Mi" } },
        },
      ],
    }),
    pod("probes", {
      containers: [
        {
          ...container("fails", "touch /tmp/ok; sleep 2; rm /tmp/ok; sleep 1000"),
          livenessProbe: { ...often, failureThreshold: 1, exec: { command: ["cat", "/tmp/ok"] } },
        },
        {
          ...container("hangs", "sleep 1000"),
          livenessProbe: {
            ...{ ...often, timeoutSeconds: 1, failureThreshold: 1 },
            exec: { command: ["sleep", "100"] },
          },
        },
      ],
    }),
    pod("logs", {
      shareProcessNamespace: true,
      containers: [
        container(
          "lines",
          `i=0; while [ $i -lt ${lineCount} ]; do echo line $i; i=$((i+1)); [ $((i % 40)) = 0 ] && sleep 0.1; done; trap 'exit 0' TERM; while :; do sleep 0.1; done`,
        ),
      ],
    }),
    pod("stubborn", {
      terminationGracePeriodSeconds: 3,
      volumes: [notes],
      containers: [
        {
          ...container(
            "main",
            "trap 'cat /proc/uptime >/out/asked' TERM; while :; do cat /proc/uptime >>/out/alive; sleep 0.05; done",
          ),
          volumeMounts: [out],
        },
      ],
    }),
    pod("restricted", {
      hostUsers: false,
      volumes: [{ name: "data", emptyDir: {} }],
      securityContext: {
        runAsNonRoot: true,
        runAsUser: 1000,
        fsGroup: 2000,
        seccompProfile: { type: "RuntimeDefault" },
      },
      containers: [
        {
          ...container("main", "touch /data/file; sleep 1000"),
          securityContext: {
            allowPrivilegeEscalation: false,
            readOnlyRootFilesystem: true,
            capabilities: { drop: ["ALL"] },
          },
          resources: { limits: { cpu: "200m", memory: "32Mi" } },
          volumeMounts: [data],
        },
      ],
    }),
    pod("pulled", {
      hostNetwork: true,
      hostPID: true,
      containers: [
        {
          ...container("main", "ip address show node0; sleep 1000"),
          image: pulledImage,
          imagePullPolicy: "IfNotPresent",
        },
      ],
    }),
    pod("talk", {
      containers: [
        {
          ...container(
            "plain",
            'while read -r line; do echo "got $line"; echo "err $line" >&2; done',
          ),
          stdin: true,
        },
        {
          ...container("terminal", "while read -r line; do stty size; done"),
          stdin: true,
          tty: true,
        },
      ],
    }),
    pod("job", {
      restartPolicy: "Never",
      containers: [container("main", "echo done")],
    }),
    pod("missing", {
      restartPolicy: "Never",
      containers: [{ ...container("main", ""), command: ["/no/such/program"] }],
    }),
  ];
}

/** As often as a kubelet can, and not too strict for a busy machine. */
const often = { periodSeconds: 1, timeoutSeconds: 10, failureThreshold: 100 } as const;

function pod(name: string, spec: object): PodManifest {
  return {
    metadata: { name, namespace: "default" },
    spec: { terminationGracePeriodSeconds: 1, ...spec },
  };
}

function container(name: string, script: string) {
  const command = ["/bin/sh", "-c", script];
  return { name, image: demoImage, imagePullPolicy: "Never", command };
}

function note(word: string) {
  return { exec: { command: ["sh", "-c", `echo ${word} >>/out/order`] } };
}
