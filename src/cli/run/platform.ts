import { failedPrecondition } from "../../lib/errors.ts";
import { UsageError } from "../failure.ts";

const processors: Readonly<Record<string, string>> = {
  x64: "amd64",
  arm64: "arm64",
  arm: "arm",
};

const synonyms: Readonly<Record<string, string>> = {
  x86_64: "amd64",
  "x86-64": "amd64",
  aarch64: "arm64",
};

/** `linux/arm64`: programs for another processor do not run here, and no image is pulled for one. */
export function checkPlatform(text: string | undefined, arch: string = process.arch): void {
  if (text === undefined) return;
  const [, os = "", asked = ""] =
    /^(?:(linux|[a-z]+)\/)?([a-z0-9_-]+)(?:\/v\d{1,2})?$/i.exec(text) ?? [];
  if (asked === "") throw new UsageError(`--platform ${text}: not OS/ARCHITECTURE`);
  const own = processors[arch] ?? arch;
  const lower = asked.toLowerCase();
  const architecture = Object.hasOwn(synonyms, lower) ? synonyms[lower] : lower;
  if ((os === "" || os === "linux") && architecture === own) return;
  throw failedPrecondition(`--platform ${text}: this node is linux/${own} and runs nothing else`);
}
