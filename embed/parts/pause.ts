import { join } from "node:path";
import { cached, embed } from "../cache.ts";
import { run } from "../command.ts";
import type { Target } from "../target.ts";
import type { Part } from "./part.ts";

const programs = [
  ...(["pause", "namespaces", "without-unified", "enter", "create", "links"] as const),
  "commands",
] as const;

/**
 * Programs of a page or two: the first process of a pod that shares a PID namespace, the maker of namespaces, what crun
 * starts through on a node with hybrid cgroups, what runs a command in a container, what makes a container, what changes
 * network interfaces, and what starts such programs for the daemon.
 */
export async function buildPause(target: Target, version: string): Promise<Part> {
  const source = (name: string) => join(embed, "pause", name);
  const files = [
    ...programs.map((name) => `${name}.c`),
    "entry.h",
    "memory.h",
    "process.h",
    "rootfs.h",
    "system-call.h",
  ].map(source);
  const inputs = [
    ...(await Promise.all(files.map((file) => Bun.file(file).text()))),
    await Bun.file(import.meta.path).text(),
  ];
  const built = await cached(`pause${target.suffix}`, inputs, async (directory) => {
    for (const name of programs) {
      await run([
        ...[
          target.gcc,
          "-Os",
          "-Wall",
          "-Wextra",
          "-Werror",
          "-ffreestanding",
          "-mgeneral-regs-only",
        ],
        ...["-fno-stack-protector", "-fno-asynchronous-unwind-tables", "-fcf-protection=none"],
        ...["-static", "-nostdlib", "-s", "-Wl,--build-id=none,-z,noexecstack"],
        ...["-o", join(directory, name), source(`${name}.c`)],
      ]);
    }
  });
  const program = (path: string) => ({ path, source: join(built, path), mode: "0555" }) as const;
  return {
    versions: { pause: version },
    files: programs.map(program),
  };
}
