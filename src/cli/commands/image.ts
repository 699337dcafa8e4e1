import { implementCommand } from "../command.ts";
import { exitCodes, UsageError } from "../failure.ts";
import { inspectImage } from "../image/inspect-image.ts";
import { verifyStoredImages } from "../image/verify-images.ts";
import { writeArchiveFile } from "../image-archive/archive-file.ts";
import { importArchive } from "../image-archive/import.ts";
import { plain } from "../output/output.ts";

const verbs = ["import", "export", "save", "inspect", "verify"] as const;

export const image = implementCommand("image", async (env, options, [verb = "", ...names]) => {
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
});

function formatOf(verb: "export" | "save", format: string | undefined): "oci" | "docker" {
  const wanted = format ?? (verb === "save" ? "docker" : "oci");
  if (wanted === "oci" || wanted === "docker") return wanted;
  throw new UsageError(`--format ${plain(wanted)}: neither oci nor docker`);
}
