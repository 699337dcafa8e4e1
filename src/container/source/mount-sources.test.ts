import { expect, test } from "bun:test";
import { describe } from "../../lib/errors.ts";
import { MountSources } from "./mount-sources.ts";

test("MountSources asks no more children than it may, also of one path", async () => {
  const sources = new MountSources(["/bin/sh", "-c", 'sleep 1; printf %s "$0"']);
  const responses = await Promise.all(
    Array.from({ length: 65 }, () => sources.find("/no/such/source").catch(describe)),
  );
  const refused = responses.filter((response) => response.includes("too many file systems hang"));
  expect(refused.length).toBe(1);
  expect(responses.filter((response) => response === "/no/such/source").length).toBe(64);
  expect(await sources.find("/no/such/source")).toBe("/no/such/source");
});
