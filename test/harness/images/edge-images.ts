/**
 * Images with what real layers do and naive unpackers get wrong. Each comes with what has to be true of it
 * once unpacked; none holds what the OCI image specification leaves open.
 */

import { parts } from "../../parts/paths.ts";
import { busyboxRoot, defaultPath, programBytes } from "./busybox.ts";
import type { NamedImage } from "./catalogue.ts";
import {
  foreignPlatform,
  hostPlatform,
  type Image,
  type ImageConfig,
  makeImage,
  makeIndex,
  makeLayer,
} from "./oci-image.ts";
import { packGlobalHeader, packTar, type TarEntry } from "./tar.ts";

/** What has to stand at a path below `/edge` of the image `crib-test/edge:latest`. */
export interface ExpectedFile {
  readonly path: string;
  readonly type: "file" | "directory" | "symlink" | "fifo" | "character-device" | "block-device";
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly links?: number;
  readonly content?: string;
  readonly target?: string;
  readonly mtime?: number;
  /** Device numbers. */
  readonly major?: number;
  readonly minor?: number;
  /** Values in hex; `/bin/getxattr PATH NAME` of the image prints them so. */
  readonly xattrs?: Readonly<Record<string, string>>;
}

/** VFS_CAP_REVISION_2, effective: CAP_NET_RAW. */
const netRawCapability = "0100000200200000000000000000000000000000";

const longDirectory = `edge/${"d".repeat(60)}`;
/** Over 100 bytes, the length of the name field; over 255 in all, the most that ustar's two fields hold. */
const longPath = `${longDirectory}/${"f".repeat(90)}`;
const longerPath = `${longDirectory}/${"e".repeat(120)}/${"f".repeat(120)}`;
const longTarget = `${"../".repeat(40)}nowhere`;

const lower: readonly TarEntry[] = [
  { type: "directory", path: "edge" },
  { type: "file", path: "bin/getxattr", mode: 0o755, data: "" },
  { type: "file", path: "edge/kept", data: "lower" },
  { type: "file", path: "edge/changed", data: "lower" },
  { type: "file", path: "edge/removed", data: "lower" },
  { type: "file", path: "edge/removed-and-back", data: "lower" },
  { type: "directory", path: "edge/removed-dir" },
  { type: "file", path: "edge/removed-dir/inside", data: "lower" },
  { type: "directory", path: "edge/opaque", mode: 0o700, uid: 7, gid: 8 },
  { type: "file", path: "edge/opaque/old", data: "lower" },
  { type: "directory", path: "edge/opaque/old-dir" },
  { type: "file", path: "edge/opaque/old-dir/old", data: "lower" },
  { type: "file", path: "edge/file-to-directory", data: "lower" },
  { type: "directory", path: "edge/directory-to-file" },
  { type: "file", path: "edge/directory-to-file/inside", data: "lower" },
  { type: "directory", path: "edge/directory-to-symlink" },
  { type: "file", path: "edge/directory-to-symlink/inside", data: "lower" },
  { type: "symlink", path: "edge/symlink-to-file", target: "kept" },
  // Upper layers put files in without naming the directory: it keeps what it has here.
  { type: "directory", path: "edge/private", mode: 0o700, uid: 1234, gid: 5678 },
  { type: "file", path: "edge/private/lower", data: "lower" },
  { type: "file", path: "edge/hard-a", data: "linked", mode: 0o640, uid: 11, gid: 12 },
  { type: "hard-link", path: "edge/hard-b", target: "edge/hard-a", mode: 0o640, uid: 11, gid: 12 },
  { type: "file", path: "edge/setuid", mode: 0o4755, data: "" },
  { type: "file", path: "edge/setgid", mode: 0o2711, uid: 5, gid: 6, data: "" },
  { type: "directory", path: "edge/setgid-dir", mode: 0o2775, gid: 50 },
  { type: "directory", path: "edge/sticky-dir", mode: 0o1777 },
  { type: "file", path: "edge/no-access", mode: 0, data: "secret" },
  { type: "file", path: "edge/empty", data: "" },
  {
    type: "file",
    path: "edge/xattrs",
    data: "x",
    uid: 21,
    gid: 22,
    xattrs: {
      "security.capability": Buffer.from(netRawCapability, "hex"),
      "user.crib": Buffer.from("value with \n newline"),
    },
  },
  { type: "directory", path: "edge/xattr-dir", xattrs: { "user.crib": Buffer.from("dir") } },
  { type: "fifo", path: "edge/fifo", mode: 0o620 },
  { type: "character-device", path: "edge/null", mode: 0o666, major: 1, minor: 3 },
  { type: "block-device", path: "edge/loop", mode: 0o660, gid: 6, major: 7, minor: 0 },
  { type: "file", path: "edge/old-time", data: "", mtime: 981_173_106 },
  { type: "file", path: "edge/fraction-of-a-second", data: "", mtime: 981_173_106.25 },
  { type: "file", path: "edge/big-ids", data: "", uid: 3_000_000, gid: 4_000_000 },
  { type: "file", path: "edge/grüße ☃", data: "unicode" },
  { type: "file", path: "edge/ leading and trailing ", data: "spaces" },
  { type: "directory", path: longDirectory },
  { type: "file", path: longPath, data: "long" },
  { type: "symlink", path: "edge/long-target", target: longTarget },
];

const upper: readonly TarEntry[] = [
  { type: "file", path: "edge/changed", data: "upper", mode: 0o600, uid: 1, gid: 2 },
  { type: "file", path: "edge/.wh.removed", data: "" },
  { type: "file", path: "edge/.wh.removed-and-back", data: "" },
  { type: "file", path: "edge/.wh.removed-dir", data: "" },
  { type: "file", path: "edge/.wh.never-there", data: "" },
  { type: "directory", path: "edge/opaque", mode: 0o711, uid: 9, gid: 10 },
  { type: "file", path: "edge/opaque/.wh..wh..opq", data: "" },
  { type: "file", path: "edge/opaque/new", data: "upper" },
  { type: "directory", path: "edge/file-to-directory" },
  { type: "file", path: "edge/file-to-directory/inside", data: "upper" },
  { type: "file", path: "edge/directory-to-file", data: "upper" },
  { type: "symlink", path: "edge/directory-to-symlink", target: "opaque" },
  { type: "file", path: "edge/symlink-to-file", data: "no link any more" },
  { type: "file", path: "edge/private/upper", data: "upper" },
  { type: "file", path: "edge/made/by/name/only", data: "upper" },
];

/** GNU's dialect of tar, paths as `tar -C root .` writes them. */
const top: readonly TarEntry[] = [
  { type: "directory", path: "./" },
  { type: "directory", path: "./edge/" },
  { type: "file", path: "./edge/removed-and-back", data: "top" },
  { type: "file", path: `./${longerPath}`, data: "longer" },
  { type: "symlink", path: "./edge/gnu-long-target", target: longTarget },
  { type: "file", path: "./edge/gnu-big-ids", data: "", uid: 3_000_000, gid: 4_000_000 },
];

/** Nothing else may stand in `/edge`, save the two parents of the longer path. */
export const edgeFiles: readonly ExpectedFile[] = [
  file("kept", "lower"),
  file("changed", "upper", { mode: 0o600, uid: 1, gid: 2 }),
  file("removed-and-back", "top"),
  directory("opaque", { mode: 0o711, uid: 9, gid: 10 }),
  file("opaque/new", "upper"),
  directory("file-to-directory"),
  file("file-to-directory/inside", "upper"),
  file("directory-to-file", "upper"),
  symlink("directory-to-symlink", "opaque"),
  file("symlink-to-file", "no link any more"),
  directory("private", { mode: 0o700, uid: 1234, gid: 5678 }),
  file("private/lower", "lower"),
  file("private/upper", "upper"),
  file("hard-a", "linked", { mode: 0o640, uid: 11, gid: 12, links: 2 }),
  file("hard-b", "linked", { mode: 0o640, uid: 11, gid: 12, links: 2 }),
  directory("made"),
  directory("made/by"),
  directory("made/by/name"),
  file("made/by/name/only", "upper"),
  file("setuid", "", { mode: 0o4755 }),
  file("setgid", "", { mode: 0o2711, uid: 5, gid: 6 }),
  directory("setgid-dir", { mode: 0o2775, gid: 50 }),
  directory("sticky-dir", { mode: 0o1777 }),
  file("no-access", "secret", { mode: 0 }),
  file("empty", ""),
  file("xattrs", "x", {
    uid: 21,
    gid: 22,
    xattrs: {
      "security.capability": netRawCapability,
      "user.crib": Buffer.from("value with \n newline").toString("hex"),
    },
  }),
  directory("xattr-dir", { xattrs: { "user.crib": Buffer.from("dir").toString("hex") } }),
  { path: "fifo", type: "fifo", mode: 0o620, uid: 0, gid: 0 },
  { path: "null", type: "character-device", mode: 0o666, uid: 0, gid: 0, major: 1, minor: 3 },
  { path: "loop", type: "block-device", mode: 0o660, uid: 0, gid: 6, major: 7, minor: 0 },
  file("old-time", "", { mtime: 981_173_106 }),
  file("fraction-of-a-second", "", { mtime: 981_173_106.25 }),
  file("big-ids", "", { uid: 3_000_000, gid: 4_000_000 }),
  file("gnu-big-ids", "", { uid: 3_000_000, gid: 4_000_000 }),
  file("grüße ☃", "unicode"),
  file(" leading and trailing ", "spaces"),
  directory(longDirectory.slice("edge/".length)),
  file(longPath.slice("edge/".length), "long"),
  file(longerPath.slice("edge/".length), "longer"),
  symlink("long-target", longTarget),
  symlink("gnu-long-target", longTarget),
];

type Details = Partial<Omit<ExpectedFile, "path" | "type" | "content" | "target">>;

function file(path: string, content: string, details: Details = {}): ExpectedFile {
  return { path, type: "file", content, mode: 0o644, uid: 0, gid: 0, ...details };
}

function directory(path: string, details: Details = {}): ExpectedFile {
  return { path, type: "directory", mode: 0o755, uid: 0, gid: 0, ...details };
}

function symlink(path: string, target: string): ExpectedFile {
  return { path, type: "symlink", target, mode: 0o777, uid: 0, gid: 0 };
}

/** A file of 64 MiB that takes two blocks: written out in full, it shows. */
export const sparseFile = {
  path: "sparse",
  size: 64 * 1024 * 1024,
  parts: [
    { offset: 0, data: "start" },
    { offset: 32 * 1024 * 1024, data: "middle" },
  ],
} as const;

/** `crib-test/hard-link-below` prints this when it runs. */
const hardLinkBelow = { format: "%a %u %s", output: "604 3 5" } as const;

/** Names that no pull may write to, whatever it does with `crib-test/escape`. */
export const escapePaths = ["/crib-escaped", "/tmp/crib-escaped"] as const;

/** Every one of these images is refused, or unpacked with all of it inside its root. */
export const escapeImages: Readonly<Record<string, readonly TarEntry[]>> = {
  "dot-dot": [{ type: "file", path: "../../../../../../../../tmp/crib-escaped", data: "out" }],
  absolute: [{ type: "file", path: "/tmp/crib-escaped", data: "out" }],
  "symlink-then-file": [
    { type: "symlink", path: "link", target: "/tmp" },
    { type: "file", path: "link/crib-escaped", data: "out" },
  ],
  "relative-symlink-then-file": [
    { type: "symlink", path: "link", target: "../../../../../../../../../tmp" },
    { type: "file", path: "link/crib-escaped", data: "out" },
  ],
  "hard-link-out": [
    { type: "hard-link", path: "passwd", target: "../../../../../../../../../etc/passwd" },
    { type: "file", path: "passwd", data: "out" },
  ],
  "whiteout-of-parent": [{ type: "file", path: "dir/.wh...", data: "" }],
};

export async function edgeImages(): Promise<readonly NamedImage[]> {
  const root = await busyboxRoot();
  const base = makeLayer(packTar(root));
  const config = (text: string): ImageConfig => ({
    Env: [defaultPath],
    Cmd: ["echo", text],
  });
  const getxattr = await programBytes(parts.getxattr);
  const withGetxattr = lower.map((entry) =>
    entry.path === "bin/getxattr" && entry.type === "file" ? { ...entry, data: getxattr } : entry,
  );

  const edge = makeImage(
    [
      makeLayer(packTar([...root, ...withGetxattr])),
      makeLayer(Buffer.concat([packGlobalHeader("a layer above"), packTar(upper)])),
      makeLayer(packTar(top, { dialect: "gnu" })),
      // An empty layer, as old builders made for every line that changed only the configuration.
      makeLayer(packTar([])),
    ],
    { ...config("edge"), WorkingDir: "/edge" },
  );

  const here = makeImage([base], config(hostPlatform.architecture));
  const elsewhere = makeImage(
    [makeLayer(packTar([{ type: "file", path: "not-for-this-machine", data: "" }]))],
    config(foreignPlatform.architecture),
    { platform: foreignPlatform },
  );
  const dockerLayer = makeLayer(packTar(root), "gzip", "docker");
  const dockerHere = makeImage([dockerLayer], config("docker"), { family: "docker" });
  const dockerElsewhere = makeImage([dockerLayer], config("docker"), {
    family: "docker",
    platform: foreignPlatform,
  });
  // What BuildKit adds to an index for provenance: a manifest for no platform at all.
  const attestation = makeImage([], {}, { platform: unknownPlatform });

  return [
    { names: ["crib-test/edge:latest"], image: edge },
    {
      names: ["crib-test/multi-arch:latest"],
      image: makeIndex([
        { image: attestation, platform: unknownPlatform },
        { image: elsewhere, platform: foreignPlatform },
        { image: here, platform: hostPlatform },
      ]),
    },
    {
      names: ["crib-test/multi-arch:docker-list"],
      image: makeIndex(
        [
          { image: dockerElsewhere, platform: foreignPlatform },
          { image: dockerHere, platform: hostPlatform },
        ],
        "docker",
      ),
    },
    { names: ["crib-test/multi-arch:docker"], image: dockerHere },
    {
      // There is nothing in it for this machine: a pull has to say so.
      names: ["crib-test/foreign:latest"],
      image: makeIndex([{ image: elsewhere, platform: foreignPlatform }]),
    },
    {
      names: ["crib-test/mixed-layers:latest"],
      image: makeImage(
        [
          makeLayer(packTar(root), "zstd"),
          ...(["none", "gzip", "zstd"] as const).map((compression) =>
            makeLayer(
              packTar([{ type: "file", path: `layers/${compression}`, data: compression }]),
              compression,
            ),
          ),
        ],
        config("mixed"),
      ),
    },
    {
      names: ["crib-test/sparse:latest"],
      image: makeImage(
        [base, makeLayer(packTar([{ type: "sparse-file", ...sparseFile }]))],
        config("sparse"),
      ),
    },
    {
      // No builder that works on overlayfs makes such a layer, others do; containerd 1.6 refuses it.
      names: ["crib-test/hard-link-below:latest"],
      image: makeImage(
        [
          makeLayer(
            packTar([...root, { type: "file", path: "below", data: "below", mode: 0o604, uid: 3 }]),
          ),
          makeLayer(
            packTar([{ type: "hard-link", path: "above", target: "below", mode: 0o604, uid: 3 }]),
          ),
        ],
        { Env: [defaultPath], Cmd: ["stat", "-c", hardLinkBelow.format, "/above"] },
      ),
    },
    { names: ["crib-test/wrong-diff-id:latest"], image: wrongDiffId() },
    ...Object.entries(escapeImages).map(
      ([name, entries]): NamedImage => ({
        names: [`crib-test/escape:${name}`],
        image: makeImage([base, makeLayer(packTar(entries))], config("escape")),
      }),
    ),
  ];

  function wrongDiffId(): Image {
    const honest = makeLayer(packTar([{ type: "file", path: "file", data: "" }]));
    return makeImage([base, { ...honest, diffId: base.diffId }], config("wrong"));
  }
}

const unknownPlatform = { os: "unknown", architecture: "unknown" } as const;
