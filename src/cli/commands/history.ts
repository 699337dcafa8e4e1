import type { ImageLayers } from "../../gen/crib/admin/v1/admin_pb.ts";
import { AppError, notFound } from "../../lib/errors.ts";
import { asList, asObject, asString, optional, parseJson } from "../../lib/json.ts";
import { maxImageConfigBytes } from "../../oci/image-config.ts";
import { implementCommand } from "../command.ts";
import { exitCodes } from "../failure.ts";
import { findImage } from "../image/image.ts";
import { formatAge, formatSize, shortId } from "../output/format.ts";
import { wantsJson } from "../output/list-output.ts";
import { plain } from "../output/output.ts";
import { writeTable } from "../output/table.ts";

/** A step of an image's making, and the layer that came of it. */
interface Step {
  readonly createdBy: string;
  readonly comment: string;
  /** `undefined` for one that the image does not date. */
  readonly created: Date | undefined;
  readonly layer: { readonly diffId: string; readonly sizeBytes: number } | undefined;
}

const createdByWidth = 45;

export const history = implementCommand("history", async (env, options, [key = ""]) => {
  using cri = env.connect();
  const { signal } = env.ctx;
  const found = await findImage(cri, key, signal);
  if (found === undefined) throw notFound(`no image "${plain(key)}"`);
  const { images } = await cri.admin.listImageLayers({ image: found.id }, { signal });
  const [image] = images;
  if (image === undefined) throw notFound(`no image "${plain(key)}"`);
  // The newest step first, as docker shows them.
  const steps = stepsOf(image).toReversed();
  if (wantsJson(options.output)) {
    env.out.write(`${JSON.stringify(steps, null, 2)}\n`);
    return exitCodes.ok;
  }
  if (options.quiet) {
    for (const { layer } of steps) env.out.write(`${layer?.diffId ?? "<none>"}\n`);
    return exitCodes.ok;
  }
  const now = env.now();
  const cut = (text: string, width: number) =>
    options["no-trunc"] || text.length <= width ? text : `${text.slice(0, width - 3)}...`;
  const rows = steps.map(({ createdBy, comment, created, layer }) => [
    layer === undefined ? "<none>" : options["no-trunc"] ? layer.diffId : shortId(layer.diffId),
    created === undefined ? "-" : formatAge(BigInt(created.getTime()) * 1_000_000n, now),
    cut(createdBy, createdByWidth),
    layer === undefined ? "0 B" : formatSize(layer.sizeBytes),
    comment,
  ]);
  writeTable(env.out, ["LAYER", "AGE", "CREATED BY", "SIZE", "COMMENT"], rows);
  return exitCodes.ok;
});

/** Of the config's `history`; layers that it does not tell of come last. */
function stepsOf({ config, layers }: ImageLayers): readonly Step[] {
  const rest = layers.map(({ diffId, usedBytes }) => ({ diffId, sizeBytes: Number(usedBytes) }));
  const steps = historyOf(config).map(({ isEmpty, ...step }) => {
    return { ...step, layer: isEmpty ? undefined : rest.shift() };
  });
  const untold = { createdBy: "", comment: "", created: undefined };
  return [...steps, ...rest.map((layer) => ({ ...untold, layer }))];
}

function historyOf(config: Uint8Array) {
  try {
    const object = asObject(
      parseJson(config, "image config", { maxBytes: maxImageConfigBytes }),
      "image config",
    );
    return asList(object["history"], "history", (value, what) => {
      const step = asObject(value, what);
      const text = (name: string) => optional(step[name], `${what}.${name}`, asString) ?? "";
      const time = Date.parse(text("created"));
      return {
        createdBy: text("created_by").replace(/\s+/g, " ").trim(),
        comment: text("comment"),
        created: Number.isNaN(time) ? undefined : new Date(time),
        isEmpty: step["empty_layer"] === true,
      };
    });
  } catch (err) {
    if (err instanceof AppError) return []; // an artifact's may be anything
    throw err;
  }
}
