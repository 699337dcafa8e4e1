/**
 * The wire side of the daemon in a process of its own: `wire-server.ts SOCKET`. The domain is plain maps. Writes
 * `ready` when it listens, its warnings, and one line for whatever would have ended the daemon.
 */
import { CallsInProgress } from "../../src/cri/call/calls-in-progress.ts";
import { createInterceptor } from "../../src/cri/call/interceptor.ts";
import { Readiness } from "../../src/cri/call/readiness.ts";
import { criRoutes } from "../../src/cri/services.ts";
import { listen } from "../../src/daemon/listen/listen.ts";
import { openLog, silentLog } from "../../src/lib/log.ts";
import { image, openDomain, sandbox } from "./cri-domain.ts";

const socket = process.argv[2] ?? "";
process.on("uncaughtException", (err) => console.log(`uncaught ${err.stack}`));
process.on("unhandledRejection", (err) => console.log(`unhandled ${err}`));

const domain = openDomain();
for (let i = 0; i < 200; i++) {
  const pod = sandbox();
  domain.pods.set(pod.id, pod);
}
domain.store.push(image());
const readiness = new Readiness();
readiness.set("ready");
await using _server = await listen({
  socket,
  routes: criRoutes(domain, readiness),
  interceptors: [createInterceptor({ readiness, log: silentLog, calls: new CallsInProgress() })],
  streamsPerConnection: 250,
  shutdownMs: 10_000,
  log: openLog((line) => console.log(line.trimEnd()), { level: "warn", format: "json" }),
});
console.log("ready");
await new Promise<void>((resolve) => process.once("SIGTERM", () => resolve()));
console.log("stopping");
