import { type Command, defineCommand } from "../command.ts";
import { exitCodes, UsageError } from "../failure.ts";
import { inspectImage } from "../image/inspect-image.ts";
import { verifyStoredImages } from "../image/verify-images.ts";
import { writeArchiveFile } from "../image-archive/archive-file.ts";
import { importArchive } from "../image-archive/import.ts";
import { plain } from "../output/output.ts";

const verbs = ["import", "export", "save", "inspect", "verify"] as const;

export const image: Command = defineCommand({
  name: "image",
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
      help: "where the archive goes; - is stdout",
    },
    format: { kind: "value", argument: "FORMAT", help: "oci or docker" },
    repair: { kind: "flag", help: "verify only: pull again what is damaged" },
    "compress-layers": { kind: "flag", help: "each layer as zstd (oci only)" },
  },
  positionals: { min: 1, max: 1001 },
  async run(env, options, [verb = "", ...names]) {
    const known = verbs.find((one) => one === verb);
    if (known === undefined) throw new UsageError(`"${plain(verb)}": none of ${verbs.join(", ")}`);
    if (names.length === 0 && known !== "verify") throw new UsageError("an argument is missing");
    using cri = env.connect();
    if (known === "verify") return await verifyStoredImages(env, cri, names, options);
    if (known === "import") {
      for (const file of names) await importArchive(env, cri, file);
    } else if (known === "inspect") {
      for (const one of names) await inspectImage(env, cri, one);
    } else {
      const format = formatOf(known, options.format);
      const compressLayers = options["compress-layers"];
      await writeArchiveFile(env, cri, names, { file: options.output, format, compressLayers });
    }
    return exitCodes.ok;
  },
});

function formatOf(verb: "export" | "save", format: string | undefined): "oci" | "docker" {
  const wanted = format ?? (verb === "save" ? "docker" : "oci");
  if (wanted === "oci" || wanted === "docker") return wanted;
  throw new UsageError(`--format ${plain(wanted)}: neither oci nor docker`);
}
