import { expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Code, type ConnectRouter, createClient } from "@connectrpc/connect";
import { connectTransport } from "../../../test/harness/connect-transport.ts";
import { failure } from "../../../test/harness/cri-clients.ts";
import {
  callHeaders,
  dataFrame,
  exchange,
  grpcMessage,
  headersFrame,
  opening,
} from "../../../test/harness/http2-frames.ts";
import { Health } from "../../gen/grpc/health/v1/health_pb.ts";
import { RuntimeService } from "../../gen/runtime/v1/api_pb.ts";
import { silentLog } from "../../lib/log.ts";
import { listen } from "./listen.ts";

interface Place extends Disposable {
  readonly socket: string;
}

function openPlace(): Place {
  const dir = mkdtempSync(join(tmpdir(), "crib-listen-"));
  return {
    socket: join(dir, "run", "crib.sock"),
    [Symbol.dispose]: () => rmSync(dir, { recursive: true }),
  };
}

function routesOfTest(router: ConnectRouter): void {
  router.service(RuntimeService, { version: () => ({ runtimeName: "crib" }) });
}

function serve(socket: string, routes = routesOfTest, shutdownMs = 1000) {
  return listen({
    socket,
    routes,
    interceptors: [],
    streamsPerConnection: 100,
    shutdownMs,
    log: silentLog,
  });
}

function client(socket: string) {
  return createClient(RuntimeService, connectTransport(socket));
}

test("listen() makes the directory and a socket for root and its group, and takes the name away", async () => {
  using place = openPlace();
  {
    await using _server = await serve(place.socket);
    expect(statSync(place.socket).mode & 0o777).toBe(0o660);
    expect((await client(place.socket).version({})).runtimeName).toBe("crib");
  }
  expect(existsSync(place.socket)).toBe(false);
});

test("listen() replaces a socket that nobody listens on", async () => {
  using place = openPlace();
  const script = `require("net").createServer().listen(process.argv[1], () => process.kill(process.pid, "SIGKILL"))`;
  {
    await using _server = await serve(place.socket);
  }
  Bun.spawnSync([process.execPath, "-e", script, place.socket]);
  expect(existsSync(place.socket)).toBe(true);
  await using _server = await serve(place.socket);
  await client(place.socket).version({});
});

test("listen() refuses a socket that another process listens on, and a file", async () => {
  using place = openPlace();
  {
    await using _server = await serve(place.socket);
    await expect(serve(place.socket)).rejects.toThrow("another process listens");
    await client(place.socket).version({});
  }
  writeFileSync(place.socket, "");
  await expect(serve(place.socket)).rejects.toThrow("exists and is no socket");
  expect(existsSync(place.socket)).toBe(true);
});

test("disposal waits for calls under way and takes no new connection", async () => {
  using place = openPlace();
  const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
  const { promise: gate, resolve: open } = Promise.withResolvers<void>();
  const server = await serve(
    place.socket,
    (router) => {
      router.service(RuntimeService, {
        async version() {
          begin();
          await gate;
          return { runtimeName: "late" };
        },
      });
    },
    10_000,
  );
  const call = client(place.socket).version({});
  await begun;
  const closed = server[Symbol.asyncDispose]();
  expect((await failure(client(place.socket).version({}))).message).toContain("ENOENT");
  open();
  expect((await call).runtimeName).toBe("late");
  await closed;
});

test("disposal aborts what is not over in time, with UNAVAILABLE", async () => {
  using place = openPlace();
  const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
  const server = await serve(
    place.socket,
    (router) => {
      router.service(RuntimeService, {
        async version(_request, { signal }) {
          begin();
          const { promise, reject } = Promise.withResolvers<never>();
          signal.addEventListener("abort", () => reject(signal.reason));
          return await promise;
        },
      });
    },
    50,
  );
  const call = failure(client(place.socket).version({}));
  await begun;
  await server[Symbol.asyncDispose]();
  expect((await call).code).toBe(Code.Unavailable);
});

test("the authority that grpc-go sends is accepted, and one that is no host does no harm", async () => {
  using place = openPlace();
  await using _server = await serve(place.socket);
  const path = "/runtime.v1.RuntimeService/Version";
  const message = grpcMessage(Buffer.alloc(0));
  for (const authority of ["%2Frun%2Fcrib.sock", "localhost", "::::", "[::1"]) {
    const headers = callHeaders(path, { ":authority": authority });
    const call = Buffer.concat([opening, headersFrame(1, headers), dataFrame(1, message)]);
    const response = await exchange(place.socket, call, { until: (got) => got.includes("crib") });
    expect(response.includes("crib")).toBe(true);
  }
  await exchange(place.socket, Buffer.from("GET / HTTP/1.1\r\n\r\n"));
  await client(place.socket).version({});
});

test("an unknown service or method is Unimplemented", async () => {
  using place = openPlace();
  await using _server = await serve(place.socket);
  const status = await failure(client(place.socket).status({}));
  expect(status.code).toBe(Code.Unimplemented);
  const health = createClient(Health, connectTransport(place.socket));
  expect(await failure(health.check({}))).toEqual({
    code: Code.Unimplemented,
    message: "unknown method /grpc.health.v1.Health/Check",
  });
});
