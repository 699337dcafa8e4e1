import { anyNumber, defineSpec, listOptions, outputOptions } from "./spec.ts";

export const df = defineSpec({
  group: "images",
  summary: "show what images, containers and their logs take on the disk",
  usage: "",
  details: "RECLAIMABLE is what removing every image would free that no container uses.",
  examples: ["crib df", "crib df -o json"],
  options: outputOptions,
  positionals: { min: 0, max: 0 },
});

export const image = defineSpec({
  group: "images",
  summary: "bring images in and out as archives, and look into them",
  usage:
    "import FILE|DIR|- | export IMAGE... -o FILE | save IMAGE... -o FILE | inspect IMAGE | verify [IMAGE...] [--repair]",
  details: [
    "import takes what `docker save` writes and OCI image layouts, as a tar (plain, gzip or zstd), a",
    "directory or, with -, on stdin. export writes an OCI image layout, save (export --format docker) what",
    "`docker load` takes; a FILE that ends in .gz or .zst is compressed. Layers are made again from the",
    "unpacked files, byte for byte: an image has the same id wherever it is imported. verify compares every",
    "file with that (all images unless some are named); --repair pulls again what is damaged, and nothing else.",
  ].join(" "),
  examples: [
    "crib image export docker.io/library/alpine:3 -o alpine.tar.zst",
    "crib image import alpine.tar.zst",
    "ssh other crib image export app:1 -o - | crib image import -",
    "crib image inspect docker.io/library/alpine:3",
    "crib image verify --repair",
  ],
  options: {
    output: {
      kind: "value",
      short: "o",
      argument: "FILE",
      completes: "file",
      help: "where the archive goes; - is stdout",
    },
    format: {
      kind: "value",
      argument: "FORMAT",
      help: "oci or docker",
      choices: ["oci", "docker"],
    },
    repair: { kind: "flag", help: "verify only: pull again what is damaged" },
    "compress-layers": { kind: "flag", help: "each layer as zstd (oci only)" },
  },
  positionals: { min: 1, max: 1001, completes: "image" },
  verbs: ["import", "export", "save", "inspect", "verify"],
});

export const images = defineSpec({
  group: "images",
  summary: "list the images on this node",
  usage: "[IMAGE]",
  examples: [
    "crib images",
    "crib images --tree",
    "crib images -q",
    "crib images --digests --no-trunc",
    "crib images -o json docker.io/library/alpine:3",
  ],
  options: {
    ...listOptions,
    digests: { kind: "flag", help: "with the digests by which it was pulled" },
    tree: { kind: "flag", help: "with the layers of each, and which are shared" },
  },
  positionals: { min: 0, max: 1, completes: "image" },
});

export const pack = defineSpec({
  group: "images",
  summary: "write an executable that is crib plus images",
  usage: "--image IMAGE... -o FILE",
  details: [
    "Whoever runs FILE needs no registry for these images: `crib serve` serves their pulls from the file.",
    "Images that are not here are pulled first. FILE may be packed from a packed crib: its images are replaced.",
  ].join(" "),
  examples: ["crib pack --image registry.local/app:1 --image local/db:7 -o crib-site"],
  options: {
    image: {
      kind: "list",
      argument: "IMAGE",
      completes: "image",
      help: "an image to pack; may be repeated",
    },
    output: {
      kind: "value",
      short: "o",
      argument: "FILE",
      completes: "file",
      help: "the executable to write",
    },
    "plain-layers": { kind: "flag", help: "do not compress: a larger file, a quicker start" },
  },
  positionals: { min: 0, max: 0 },
});

export const pull = defineSpec({
  group: "images",
  summary: "pull an image from its registry",
  usage: "IMAGE",
  details:
    "Prints the reference of what was pulled, by digest. CRIB_CREDS=USER:PASS does what --creds does without showing it in the process list.",
  examples: [
    "crib pull docker.io/library/alpine:3",
    "crib pull registry.local/app@sha256:0a1b...",
    "CRIB_CREDS=me:secret crib pull registry.local/app:1",
  ],
  options: {
    creds: { kind: "value", argument: "USER:PASS", help: "credentials for the registry" },
    quiet: { kind: "flag", short: "q", help: "no progress" },
  },
  positionals: { min: 1, max: 1, completes: "image" },
});

export const rmi = defineSpec({
  group: "images",
  summary: "remove images",
  usage: "IMAGE... | --prune",
  details:
    "IMAGE is a name, a digest, an id or the beginning of an id. --prune removes images that are neither pinned nor of any container, running or not.",
  examples: [
    "crib rmi docker.io/library/alpine:3",
    "crib rmi --prune",
    "crib rmi $(crib images -q)",
  ],
  options: {
    force: { kind: "flag", short: "f", help: "an image that is not there is no failure" },
    prune: { kind: "flag", help: "all that nothing uses" },
  },
  positionals: { min: 0, max: anyNumber, completes: "image" },
});

export const tag = defineSpec({
  group: "images",
  summary: "give an image another name",
  usage: "IMAGE NAME",
  details:
    "The image that has the name loses it. `crib rmi NAME` takes it away again; the image goes with its last name.",
  examples: ["crib tag registry.example/app:1 local/app:stable"],
  options: {},
  positionals: { min: 2, max: 2, completes: "image" },
});

export const history = defineSpec({
  group: "images",
  summary: "show the build steps of an image and their layers",
  usage: "IMAGE",
  details: "As its config has them, the newest first, with what each layer takes on the disk.",
  examples: ["crib history docker.io/library/alpine:3", "crib history --no-trunc local/app:1"],
  options: {
    ...outputOptions,
    quiet: { kind: "flag", short: "q", help: "layers only, one a line" },
    "no-trunc": { kind: "flag", help: "whole commands and ids" },
  },
  positionals: { min: 1, max: 1, completes: "image" },
});

const configOption = {
  config: {
    kind: "value",
    argument: "FILE",
    help: "the daemon's configuration",
    completes: "file",
  },
} as const;

export const login = defineSpec({
  group: "images",
  summary: "store a login to a registry for all pulls of this node",
  usage: "[REGISTRY]",
  details:
    "REGISTRY is docker.io unless given. The login is tried first, then kept where pulls look for it: the first of images.docker_config_files (/etc/crib/docker.json), in the format of Docker's config.json, readable by root only. It is in force at the next pull.",
  examples: [
    "crib login registry.example",
    "crib login -u me --password-stdin registry.example:5000 <password",
  ],
  options: {
    username: { kind: "value", short: "u", argument: "NAME", help: "asked for unless given" },
    password: {
      kind: "value",
      short: "p",
      argument: "PASSWORD",
      help: "asked for unless given; others see it in the list of processes",
    },
    "password-stdin": { kind: "flag", help: "read the password from stdin" },
    "no-check": { kind: "flag", help: "keep it without asking the registry" },
    ...configOption,
  },
  positionals: { min: 0, max: 1 },
});

export const logout = defineSpec({
  group: "images",
  summary: "remove a login to a registry",
  usage: "[REGISTRY]",
  examples: ["crib logout registry.example"],
  options: configOption,
  positionals: { min: 0, max: 1 },
});
