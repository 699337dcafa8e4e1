import { expect, test } from "bun:test";
import { describe, kindOf, reasonOf } from "../lib/errors.ts";
import { silentLog } from "../lib/log.ts";
import { HostClient } from "./host-client.ts";
import { HostRounds } from "./host-rounds.ts";
import { noProxy } from "./hosts/proxy.ts";
import { plainHost } from "./hosts/registry-host.ts";
import { RegistryError, StalledError } from "./registry-error.ts";

const ctx = { signal: new AbortController().signal, log: silentLog };
const busy = new RegistryError("busy", 503);

function clients(...names: readonly string[]): readonly HostClient[] {
  const image = { registry: "reg.test", repository: "app" };
  const options = { proxy: noProxy, timeoutMs: 1, credentials: async () => undefined };
  return names.map(
    (name) => new HostClient(plainHost(new URL(`http://${name}/v2`)), image, options),
  );
}

async function turns(hosts: HostRounds, failure: unknown, count: number): Promise<string> {
  const names: string[] = [];
  for (let i = 0; i < count; i++) {
    const turn = await hosts.next(ctx);
    names.push(turn.client.host.base.host);
    hosts.failed(ctx, turn, failure);
  }
  return names.join("");
}

test("all hosts are asked before any is asked again", async () => {
  const hosts = new HostRounds(clients("a", "b", "c"), "pull");
  expect(await turns(hosts, busy, 4)).toBe("abca");
});

test("who says no is not asked again, and what each has said is in the error", async () => {
  const hosts = new HostRounds(clients("a", "b"), "pull");
  expect(await turns(hosts, new RegistryError("none", 404), 2)).toBe("ab");
  await expect(hosts.next(ctx)).rejects.toThrow("b: none; a: none");
  await expect(new HostRounds([], "pull").next(ctx)).rejects.toThrow(
    "no host is configured to pull",
  );
});

const away = (host: string) => new RegistryError(`http://${host}/v2/app: EAI_AGAIN`, 0);
const said = (host: string, status: number) =>
  new RegistryError(`http://${host}/v2/app: ${status}`, status);

test.each([
  ["not-found", [404, 0], "m0/v2/app: 404", undefined],
  ["unauthenticated", [401, 0], "m0/v2/app: 401", undefined],
  ["permission-denied", [404, 403, 0], "m1/v2/app: 403", undefined],
  ["unauthenticated", [401, 404, 0], "m0/v2/app: 401", undefined],
  ["not-found", [401, 404], "m1/v2/app: 404", undefined],
  ["unauthenticated", [404, 401], "m1/v2/app: 401", undefined],
  ["not-found", [0, 404], "m1/v2/app: 404", undefined],
  ["not-found", [503, 404], "m1/v2/app: 404", undefined],
  ["unavailable", [404, 503], "m1/v2/app: 503", "RegistryUnavailable"],
  ["unavailable", [0, 0], "m1/v2/app: EAI_AGAIN", "RegistryUnavailable"],
  ["failed-precondition", [404, 495], "m1/v2/app: 495", undefined],
] as const)("the failure is %p when the hosts say %p", async (kind, statuses, first, reason) => {
  const names = statuses.map((_, i) => `m${i}`);
  const hosts = new HostRounds(clients(...names), "pull", { rounds: 1 });
  const failure = await (async () => {
    for (;;) {
      const turn = await hosts.next(ctx);
      const place = names.indexOf(turn.client.host.base.host);
      const [name = "", status = 0] = [names[place], statuses[place]];
      hosts.failed(ctx, turn, status === 0 ? away(name) : said(name, status));
    }
  })().catch((err: unknown) => err);
  expect(kindOf(failure)).toBe(kind);
  expect(reasonOf(failure)).toBe(reason as never);
  expect(describe(failure)).toStartWith(`http://${first}`);
  for (const name of names) expect(describe(failure).split(`//${name}/`).length).toBe(2);
});

test("who stands still comes last, also for the next blob", async () => {
  const all = clients("a", "b");
  const hosts = new HostRounds(all, "pull");
  expect(await turns(hosts, new StalledError("still"), 1)).toBe("a");
  expect((await hosts.next(ctx)).client.host.base.host).toBe("b");
  expect((await new HostRounds(all, "pull").next(ctx)).client.host.base.host).toBe("b");
});

test("connections that break together are one failure, and bytes make it good", async () => {
  const hosts = new HostRounds(clients("a"), "pull");
  const together = await Promise.all([1, 2, 3, 4, 5].map(() => hosts.next(ctx)));
  for (const turn of together) hosts.failed(ctx, turn, busy);
  const again = await hosts.next(ctx);
  expect(again.round).toBe(1);
  hosts.succeeded(again.client);
  expect((await hosts.next(ctx)).round).toBe(0);
  for (let cut = 0; cut < 5; cut++) {
    const turn = await hosts.next(ctx);
    hosts.succeeded(turn.client);
    hosts.failed(ctx, turn, busy);
    const retried = await hosts.next(ctx);
    expect(retried.round).toBe(1);
    hosts.succeeded(retried.client);
  }
});
