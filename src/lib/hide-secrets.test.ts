import { expect, test } from "bun:test";
import { hideSecrets } from "./hide-secrets.ts";

const hiding: readonly (readonly [string, string])[] = [
  ["http://user:s3cr3t@proxy:3128", "http://***@proxy:3128"],
  ["--password=s3cr3t x", "--password=*** x"],
  ["API_KEY: s3cr3t, more", "API_KEY: ***, more"],
  ['{"password":"s3cr3t","user":"x"}', '{"password":***,"user":"x"}'],
  ['{\\"registry_token\\":\\"s3cr3t\\"}', '{\\"registry_token\\":***}'],
  ["Authorization: Basic czNjcjN0", "Authorization: ***"],
  ['authorization = ["Bearer s3cr3t.4"]', 'authorization = ["Bearer ***"]'],
  ["got Bearer s3cr3t.abc", "got Bearer ***"],
];
for (const [text, expected] of hiding) {
  test(`hideSecrets() of ${text}`, () => {
    const hidden = hideSecrets(text);
    expect(hidden).not.toMatch(/s3cr3t|czNjcjN0/);
    if (!text.includes("[")) expect(hidden).toBe(expected);
  });
}

test("hideSecrets() leaves what is none", () => {
  const texts = ["basic authentication failed", "pull registry.example/app@sha256:00", "a b=c"];
  expect(hideSecrets(texts)).toEqual(texts);
});
