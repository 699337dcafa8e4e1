import { mkdtempSync, rmSync } from "node:fs";
import http2 from "node:http2";
import { tmpdir } from "node:os";
import type { ServiceImpl } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { AdminService } from "../../src/gen/crib/admin/v1/admin_pb.ts";
import * as pb from "../../src/gen/runtime/v1/api_pb.ts";

export interface FakeCri extends AsyncDisposable {
  /** `unix:///...`, as `--socket` takes it. */
  readonly endpoint: string;
  /** For log files and the like; removed with the server. */
  readonly dir: string;
}

/** A CRI server on a Unix socket of its own that returns what `handlers` return; the rest is UNIMPLEMENTED. */
export async function serveFakeCri(
  runtime: Partial<ServiceImpl<typeof pb.RuntimeService>>,
  images: Partial<ServiceImpl<typeof pb.ImageService>> = {},
  admin: Partial<ServiceImpl<typeof AdminService>> = {},
): Promise<FakeCri> {
  const dir = mkdtempSync(`${tmpdir()}/crib-fake-cri-`);
  const path = `${dir}/crib.sock`;
  const server = http2.createServer(
    connectNodeAdapter({
      routes: (router) => {
        router.service(pb.RuntimeService, runtime);
        router.service(pb.ImageService, images);
        router.service(AdminService, admin);
      },
    }),
  );
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return {
    endpoint: `unix://${path}`,
    dir,
    async [Symbol.asyncDispose]() {
      server.close();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}
