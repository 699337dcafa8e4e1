import { expect, test } from "bun:test";
import { proxyFor } from "./proxy.ts";

const settings = (none: readonly string[]) => ({
  http: "http://proxy:3128",
  https: "secure-proxy:3129",
  none,
});
const via = (url: string, ...none: readonly string[]) => proxyFor(new URL(url), settings(none));

test("proxyFor() goes by the scheme, and never by a proxy to this machine", () => {
  expect(via("http://a.test/x")).toBe("http://proxy:3128");
  expect(via("https://a.test/x")).toBe("http://secure-proxy:3129");
  for (const own of ["localhost:5000", "127.0.0.1", "127.1.2.3:80", "[::1]:5000"]) {
    expect(via(`http://${own}/`)).toBeUndefined();
  }
  expect(proxyFor(new URL("https://a"), { http: "x", https: "", none: [] })).toBeUndefined();
});

test.each([
  ["a.test", "a.test", true],
  ["sub.a.test", "a.test", true],
  ["xa.test", "a.test", false],
  ["a.test", ".a.test", false],
  ["sub.a.test", ".a.test", true],
  ["sub.a.test", "*.a.test", true],
  ["A.TEST", "a.test", true],
  ["a.test:5000", "a.test:5000", true],
  ["a.test:5000", "a.test:443", false],
  ["a.test", "a.test:443", true],
  ["10.1.2.3", "10.0.0.0/8", true],
  ["11.1.2.3", "10.0.0.0/8", false],
  ["10.1.2.3", "10.1.2.3", true],
  ["10.1.2.3:5000", "10.1.2.3:5000", true],
  ["110.1.2.3", "10.1.2.3", false],
  ["[fd00::1]:5000", "fd00::/8", true],
  ["[fd00::1]", "fd00:0::1", true],
  ["[fd00::1]:5000", "[fd00::1]:5000", true],
  ["[fe00::1]", "fd00::/8", false],
  ["a.test", "10.0.0.0/99", false],
  ["10.1.2.3", "10.0.0.0/99", false],
  ["a.test", "*", true],
  ["a.test", "", false],
])("to %s with NO_PROXY=%s", (host, entry, isDirect) => {
  expect(via(`https://${host}/`, entry) === undefined).toBe(isDirect);
});
