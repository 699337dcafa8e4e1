import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { nativeLibraries } from "../../../../test/harness/native-libraries.ts";
import type { SpecSeccomp } from "../../../oci/runtime-spec.ts";
import { Filters, maxFilters } from "./filters.ts";

const native = process.arch === "arm64" ? "SCMP_ARCH_AARCH64" : "SCMP_ARCH_X86_64";
const library = `${nativeLibraries()}/libseccomp.so.2`;

function profile(errnoRet: number): SpecSeccomp {
  const rule = { names: ["mkdir"], action: "SCMP_ACT_ERRNO" as const, errnoRet };
  return { defaultAction: "SCMP_ACT_ALLOW", architectures: [native], syscalls: [rule] };
}

test.skipIf(!existsSync(library))("Filters keeps those that were used last", () => {
  using filters = new Filters(library);
  const first = filters.get(profile(1));
  const second = filters.get(profile(2));
  if (first === undefined || second === undefined) throw new Error("not compiled");
  expect(filters.get(profile(1))).toBe(first);
  for (let i = 3; i <= maxFilters; i++) filters.get(profile(i));
  expect(filters.renew(second)).toBe(true);
  filters.get(profile(0));
  expect(filters.renew(first)).toBe(false);
  expect(() => first.file.fd).toThrow("closed");
  expect(filters.renew(second)).toBe(true);
  const again = filters.get(profile(1));
  expect(again).toMatchObject({ length: first.length, flags: first.flags });
  expect(filters.renew(first)).toBe(false);
});
