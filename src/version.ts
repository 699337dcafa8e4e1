/** Set by `--define` at build time (embed/build.ts); absent when run from source. */
declare const CRIB_VERSION: string;
declare const CRIB_PARTS: string;

export const version: string = typeof CRIB_VERSION === "undefined" ? "dev" : CRIB_VERSION;

/** Every embedded part with its version: runc, crun, the CNI plugins, ... Empty when run from source. */
export const parts: Readonly<Record<string, string>> =
  typeof CRIB_PARTS === "undefined" ? {} : JSON.parse(CRIB_PARTS);
