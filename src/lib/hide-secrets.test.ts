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
  [String.raw`{"password":"a\"s3cr3t","user":"x"}`, '{"password":***,"user":"x"}'],
  [
    String.raw`{\"token\":\"a\\\"s3cr3t\\n\",\"user\":\"x\"}`,
    String.raw`{\"token\":***,\"user\":\"x\"}`,
  ],
  ["password = 'it''s s3cr3t', x", "password = ***, x"],
  ["http://user:p@s3cr3t@proxy:3128/", "http://***@proxy:3128/"],
  ["http://user:it's3cr3t@proxy:3128", "http://***@proxy:3128"],
  ["--password s3cr3t host", "--password *** host"],
  ["run --registry-token 's3cr3t 2' host", "run --registry-token *** host"],
  ['{"auths":{"r":{"auth":"czNjcjN0"}}}', '{"auths":{"r":{"auth":***}}}'],
  ["X-Registry-Auth: s3cr3t", "X-Registry-Auth: ***"],
  ["Cookie: session=s3cr3t; x", "Cookie: ***; x"],
  ["GET https://b/x?X-Amz-Signature=s3cr3t&a=b", "GET https://b/x?X-Amz-Signature=***&a=b"],
  ["https://b/x?sv=1&sig=s3cr3t%3D", "https://b/x?sv=1&sig=***"],
  [
    "-----BEGIN EC PRIVATE KEY-----\ns3cr3t\n-----END EC PRIVATE KEY-----",
    "-----BEGIN EC PRIVATE KEY-----***-----END EC PRIVATE KEY-----",
  ],
];
for (const [text, expected] of hiding) {
  test(`hideSecrets() of ${text}`, () => {
    const hidden = hideSecrets(text);
    expect(hidden).not.toMatch(/s3cr3t|czNjcjN0/);
    if (!text.includes("[")) expect(hidden).toBe(expected);
  });
}

test("hideSecrets() leaves what is none", () => {
  const texts = [
    "basic authentication failed",
    "pull registry.example/app@sha256:00",
    "a b=c",
    "--password-stdin and --token",
    "https://h/a?b=c",
    "the password on stdin is over 64 KiB",
    "oci://reg.example/app@sha256:00",
  ];
  expect(hideSecrets(texts)).toEqual(texts);
});
