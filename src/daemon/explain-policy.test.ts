import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { tempDir } from "../../test/harness/temp-dir.ts";
import { parseConfig } from "./config/config-file.ts";
import { explainPolicy } from "./explain-policy.ts";

test("explainPolicy() names the file, the scope and what is asked", () => {
  using dir = tempDir();
  const policy = join(dir.path, "policy.json");
  const setting = `images.signature_policy_file = ${JSON.stringify(policy)}`;
  const config = parseConfig(setting, "f");
  expect(explainPolicy("a.test", config)).toStartWith(
    `lets nothing in: signature policy ${policy}`,
  );
  const signed = { type: "sigstoreSigned", keyPath: "/a.pub" };
  const gpg = { type: "signedBy", keyType: "GPGKeys" };
  const docker = { "a.test": [signed], "a.test/b": [{ type: "insecureAcceptAnything" }, gpg] };
  const text = { default: [{ type: "reject" }], transports: { docker } };
  writeFileSync(policy, JSON.stringify(text));
  expect(explainPolicy("a.test", config)).toBe(
    `${policy} (a.test): sigstoreSigned (keys, matchRepoDigestOrExact)`,
  );
  expect(explainPolicy("a.test/b:1", config)).toBe(
    `${policy} (a.test/b): insecureAcceptAnything and reject (signedBy: GPG signatures: not supported)`,
  );
  expect(explainPolicy("docker.io", config)).toBe(`${policy} (default): reject`);
});
