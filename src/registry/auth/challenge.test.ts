import { expect, test } from "bun:test";
import { parseChallenges } from "./challenge.ts";
import { checkRealm } from "./realm.ts";

const read = (header: string) =>
  parseChallenges(header).map(({ scheme, parameters }) => [scheme, Object.fromEntries(parameters)]);

test("parseChallenges() reads what registries send", () => {
  expect(
    read('Bearer realm="https://auth.test/token",service="reg",scope="repository:a/b:pull"'),
  ).toEqual([
    ["bearer", { realm: "https://auth.test/token", service: "reg", scope: "repository:a/b:pull" }],
  ]);
  expect(read('Basic realm="a \\"b\\"" , Bearer realm=x, error="e"')).toEqual([
    ["basic", { realm: 'a "b"' }],
    ["bearer", { realm: "x", error: "e" }],
  ]);
  expect(read("Negotiate, Basic")).toEqual([
    ["negotiate", {}],
    ["basic", {}],
  ]);
});

test("parseChallenges() believes nothing after an error and takes no time", () => {
  expect(read("")).toEqual([]);
  expect(read('="x" Bearer')).toEqual([]);
  expect(read('Bearer realm="x')).toEqual([["bearer", {}]]);
  expect(read(`Bearer realm="${"x".repeat(1 << 20)}"`)).toEqual([]);
  const started = performance.now();
  for (const unit of ['"', "\\", "a=", " ,", 'a="']) read(unit.repeat(4000));
  expect(performance.now() - started).toBeLessThan(5000);
});

const trust = (realm: string, registry: string) =>
  checkRealm(realm, new URL(registry))?.isTrusted ?? "refused";

test.each([
  ["https://auth.docker.io/token", "https://registry-1.docker.io/v2", true],
  ["https://ghcr.io/token", "https://ghcr.io/v2", true],
  ["https://ghcr.io:444/token", "https://ghcr.io/v2", true],
  ["http://127.0.0.1:5001/token", "http://127.0.0.1:5000/v2", true],
  ["https://evil.test/token", "https://registry.good.test/v2", false],
  ["https://evil.co.uk/token", "https://registry.co.uk/v2", false],
  ["https://auth.x.co.uk/token", "https://reg.x.co.uk/v2", true],
  ["http://ghcr.io/token", "https://ghcr.io/v2", "refused"],
  ["https://169.254.169.254/token", "https://ghcr.io/v2", "refused"],
  ["https://2130706433/token", "https://ghcr.io/v2", "refused"],
  ["https://[::1]/token", "https://ghcr.io/v2", "refused"],
  ["file:///etc/shadow", "https://ghcr.io/v2", "refused"],
  ["https://user:pass@ghcr.io/", "https://ghcr.io/v2", "refused"],
  ["token", "https://ghcr.io/v2", "refused"],
  [`https://ghcr.io/${"x".repeat(5000)}`, "https://ghcr.io/v2", "refused"],
] as const)("checkRealm() of %s for %s", (realm, registry, expected) => {
  expect(trust(realm, registry)).toBe(expected);
});
