import { join } from "node:path";
import { type GuestOptions, type GuestResult, runGuest } from "./guest.ts";
import { podFiles } from "./pod-files.ts";

/** Runs one of `scripts/` in a guest, with what these scripts share beside it. */
export async function runScript(
  name: string,
  options: Omit<GuestOptions, "script">,
): Promise<GuestResult> {
  return await runGuest({
    ...options,
    script: await scriptText(name),
    files: { ...podFiles(), "pods.sh": await scriptText("pods.sh"), ...options.files },
  });
}

async function scriptText(name: string): Promise<string> {
  return await Bun.file(join(import.meta.dir, "scripts", name)).text();
}
