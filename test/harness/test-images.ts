import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { memoryImageRecords } from "../../src/image/image-record.ts";
import {
  type ImagesOptions,
  type OpenImages,
  openImages,
  type TransferOptions,
} from "../../src/image/open.ts";
import { silentLog } from "../../src/lib/log.ts";
import { noProxy } from "../../src/registry/hosts/proxy.ts";
import { readRegistries } from "../../src/registry/hosts/registries-yaml.ts";
import { openVerifier } from "../../src/signature/verifier.ts";

export interface TestImagesOptions
  extends Partial<Pick<ImagesOptions, "records" | "bootId" | "peers" | "keepsBlobs">> {
  /** `hosts.toml` by registry. */
  readonly hosts?: Readonly<Record<string, string>>;
  readonly transfer?: TransferOptions;
  /** A policy.json; none accepts everything. */
  readonly policyFile?: string;
}

/** The image store below `root`, unpacking in children that run from source. */
export async function openTestImages(
  root: string,
  options: TestImagesOptions = {},
): Promise<OpenImages> {
  const certs = join(root, "certs.d");
  for (const [host, toml] of Object.entries(options.hosts ?? {})) {
    mkdirSync(join(certs, host), { recursive: true });
    writeFileSync(join(certs, host, "hosts.toml"), toml);
  }
  const ctx = { signal: new AbortController().signal, log: silentLog };
  return await openImages(ctx, {
    root,
    records: options.records ?? memoryImageRecords(),
    bootId: options.bootId ?? "this boot",
    unpackArgv: (...args) => [process.execPath, join(import.meta.dir, "unpack-main.ts"), ...args],
    registry: {
      configDirs: [certs],
      registriesFiles: [],
      loadRegistries: () => Promise.resolve(readRegistries),
      dockerConfigFiles: [],
      proxy: noProxy,
    },
    transfer: options.transfer ?? {},
    keepsBlobs: options.keepsBlobs ?? false,
    signatures: {
      policyFiles: { named: options.policyFile ?? "", usual: [] },
      loadVerifier: () => Promise.resolve(openVerifier),
    },
    ...(options.peers && { peers: options.peers }),
  });
}
