/**
 * Stand-ins for every image that critest asks for, with what its specs look at in them. All are
 * busybox. They lie in the registry under the path of their name, whatever its host: a mirror for
 * registry.k8s.io, gcr.io, k8s.gcr.io and public.ecr.aws serves them.
 */

import { parts } from "../../parts/paths.ts";
import { busyboxRoot, defaultPath, programBytes } from "./busybox.ts";
import type { NamedImage } from "./catalogue.ts";
import { hostPlatform, type Image, type ImageConfig, makeImage, makeLayer } from "./oci-image.ts";
import { packTar, type TarEntry } from "./tar.ts";

/**
 * Like nginx as far as a test sees: pid file, process name, `master process` in its command line. The name is the
 * script's only because the first line names busybox: /bin/sh is a shim that executes it, and would leave its name.
 */
const nginxScript = `#!/bin/busybox sh
port=\${PORT:-80}
echo $$ >/var/run/nginx.pid
httpd -f -p "$port" -h /www &
trap 'kill $!; exit 0' TERM INT QUIT
echo "nginx: $1 listens on $port"
wait
`;

const httpdScript = `#!/bin/busybox sh
httpd -f -p 80 -h /www &
trap 'kill $!; exit 0' TERM INT QUIT
echo "httpd: listens on 80"
wait
`;

const page: readonly TarEntry[] = [
  { type: "directory", path: "www" },
  { type: "file", path: "www/index.html", data: "<h1>It works</h1>\n" },
];

const staging = "k8s-staging-cri-tools";

export async function critestImages(): Promise<readonly NamedImage[]> {
  const base = makeLayer(packTar(await busyboxRoot()));
  const busybox = (files: readonly TarEntry[], config: ImageConfig): Image =>
    makeImage(files.length === 0 ? [base] : [base, makeLayer(packTar(files))], {
      Env: [defaultPath],
      Cmd: ["sh"],
      ...config,
    });
  // Images that only have to differ from each other: an empty file named after the image does it.
  const marked = (name: string, config: ImageConfig = {}): Image =>
    busybox([{ type: "file", path: name, data: "" }], config);
  const server = (script: string, path: string, config: ImageConfig): Image =>
    busybox([...page, { type: "file", path, mode: 0o755, data: script }], config);

  const nginx = (env: readonly string[]): Image =>
    server(nginxScript, "usr/sbin/nginx", {
      Env: [defaultPath, ...env],
      Entrypoint: ["/usr/sbin/nginx", "master process"],
      Cmd: [],
    });
  const users = {
    "test-image-user-uid": "1002",
    "test-image-user-username": "www-data",
    "test-image-user-uid-group": "1003:1004",
    "test-image-user-username-group": "www-data:1004",
  };

  const pauseLayer = makeLayer(
    packTar([{ type: "file", path: "pause", mode: 0o755, data: await programBytes(parts.pause) }]),
  );
  const pause = (version: string): Image =>
    makeImage([pauseLayer], {
      Env: [defaultPath],
      Entrypoint: ["/pause"],
      User: "65535:65535",
      Labels: { version },
    });

  return [
    { names: ["e2e-test-images/busybox:1.29-2"], image: busybox([], {}) },
    { names: ["e2e-test-images/nginx:1.14-2"], image: nginx([]) },
    {
      names: [`${staging}/hostnet-nginx-${hostPlatform.architecture}:latest`],
      image: nginx(["PORT=12003"]),
    },
    {
      names: ["e2e-test-images/httpd:2.4.39-4"],
      image: server(httpdScript, "usr/local/bin/httpd-foreground", { Cmd: ["httpd-foreground"] }),
    },
    {
      names: ["e2e-test-images/nonewprivs:1.3"],
      image: busybox(
        [
          {
            type: "file",
            path: "usr/local/bin/nnp",
            mode: 0o6755,
            data: await programBytes(parts.nonewprivs),
          },
        ],
        { Cmd: ["nnp"] },
      ),
    },
    {
      names: [`${staging}/test-image-predefined-group:latest`],
      image: busybox(
        [
          {
            type: "file",
            path: "etc/passwd",
            data: "root:x:0:0:root:/root:/bin/sh\ndefault-user:x:1000:1000::/home/default-user:/bin/sh\n",
          },
          {
            type: "file",
            path: "etc/group",
            data: "root:x:0:\ndefault-user:x:1000:\ngroup-defined-in-image:x:50000:default-user\n",
          },
        ],
        { User: "1000" },
      ),
    },
    ...Object.entries(users).map(
      ([name, user]): NamedImage => ({
        names: [`${staging}/${name}:latest`],
        image: marked(name, { User: user }),
      }),
    ),
    ...["test-image-latest", "test-image-1", "test-image-2", "test-image-3"].map(
      (name): NamedImage => ({ names: [`${staging}/${name}:latest`], image: marked(name) }),
    ),
    { names: [`${staging}/test-image-tag:test`], image: marked("test-image-tag") },
    { names: [`${staging}/test-image-tag:all`], image: marked("test-image-tag-all") },
    {
      names: [
        `${staging}/test-image-tags:1`,
        `${staging}/test-image-tags:2`,
        `${staging}/test-image-tags:3`,
      ],
      image: marked("test-image-tags"),
    },
    { names: ["pause:3.9"], image: pause("3.9") },
    // For runtimes that want a sandbox image: critest removes the other one.
    { names: ["pause:3.10.1"], image: pause("3.10.1") },
    {
      // What critest -benchmark pulls and lists.
      names: [
        "docker/library/busybox:1.35.0-glibc",
        "docker/library/busybox:1-uclibc",
        "docker/library/busybox:1",
        "docker/library/busybox:1-glibc",
        "docker/library/busybox:1-musl",
      ],
      image: marked("benchmark"),
    },
    { names: ["library/busybox:latest", "library/busybox:1"], image: marked("library") },
  ];
}
