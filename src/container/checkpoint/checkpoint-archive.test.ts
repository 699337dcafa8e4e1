import { expect, test } from "bun:test";
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { create } from "@bufbuild/protobuf";
import { tempDir } from "../../../test/harness/temp-dir.ts";
import * as pb from "../../gen/runtime/v1/api_pb.ts";
import type { RuntimeSpec } from "../../oci/runtime-spec.ts";
import type { Container } from "../container.ts";
import { logPathOf } from "../log-path.ts";
import { checkpointMembers } from "./checkpoint-archive.ts";

const config = create(pb.ContainerConfigSchema, { logPath: "app/0.log" });

/** The files of an archive, as text. */
async function filesOf(dir: string): Promise<Record<string, string>> {
  const logPath = logPathOf(`${dir}/logs`, config.logPath);
  const container = { config, logPath, createdAtNs: 0n, state: { name: "running" } };
  const members = checkpointMembers(
    {
      container: container as Container,
      pod: create(pb.PodSandboxConfigSchema),
      image: undefined,
      spec: {} as RuntimeSpec,
      runtime: "runc",
      at: new Date(),
      stdio: {},
    },
    dir,
  );
  const files: Record<string, string> = {};
  for await (const { header, content = [] } of members) {
    files[header.name] = Buffer.concat(await Array.fromAsync(content)).toString();
  }
  return files;
}

test("checkpointMembers() has the log, and no other file that a link in its place leads to", async () => {
  using dir = tempDir();
  for (const name of ["checkpoint", "logs/app"])
    mkdirSync(`${dir.path}/${name}`, { recursive: true });
  writeFileSync(`${dir.path}/checkpoint/pages-1.img`, "pages");
  const log = `${dir.path}/logs/app/0.log`;
  expect(await filesOf(dir.path)).not.toHaveProperty("container.log");
  for (const text of ["", "it says hello"]) {
    writeFileSync(log, text);
    const found = await filesOf(dir.path);
    expect(found).toMatchObject({ "container.log": text, "checkpoint/pages-1.img": "pages" });
  }
  writeFileSync(`${dir.path}/secret`, "secret");
  for (const target of [`${dir.path}/secret`, "../../secret", "/dev/zero", "0.log", "."]) {
    rmSync(log);
    symlinkSync(target, log);
    expect(await filesOf(dir.path)).not.toHaveProperty("container.log");
  }
  rmSync(`${dir.path}/logs/app`, { recursive: true });
  symlinkSync(dir.path, `${dir.path}/logs/app`);
  writeFileSync(`${dir.path}/0.log`, "secret");
  expect(await filesOf(dir.path)).not.toHaveProperty("container.log");
});
