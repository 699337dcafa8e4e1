import { existsSync } from "node:fs";
import { resolve } from "node:path";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type * as pb from "../../gen/crib/admin/v1/admin_pb.ts";
import { notFound } from "../../lib/errors.ts";
import type { CriClient } from "../client.ts";
import type { CommandEnv } from "../command.ts";
import { shortId } from "../output/format.ts";
import { plain } from "../output/output.ts";
import { startProgress } from "../output/progress.ts";

type Request = MessageInitShape<typeof pb.ImportImagesRequestSchema>;

/** Has the daemon read a file or directory, or gives it what comes on stdin. Prints the names that came. */
export async function importArchive(env: CommandEnv, cri: CriClient, file: string): Promise<void> {
  if (file !== "-" && !existsSync(file)) throw notFound(`no file ${plain(file)}`);
  const requests = file === "-" ? fromStdin() : [{ source: pathOf(file) }];
  using _progress = startProgress(env.out, () => `importing ${file}`);
  const options = { signal: env.ctx.signal };
  const { images } = await cri.admin.importImages(iterate(requests), options);
  for (const { id, names } of images) {
    for (const name of names.length > 0 ? names : ["<none>"]) {
      env.out.write(`${plain(name)} ${shortId(id)}\n`);
    }
  }
}

function pathOf(file: string): NonNullable<Request["source"]> {
  return { case: "path", value: resolve(file) };
}

async function* fromStdin(): AsyncGenerator<Request> {
  for await (const chunk of Bun.stdin.stream()) {
    yield { source: { case: "chunk", value: Uint8Array.from(chunk) } };
  }
}

async function* iterate(
  requests: Iterable<Request> | AsyncIterable<Request>,
): AsyncGenerator<Request> {
  yield* requests;
}
