import { expect, test } from "bun:test";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  BootstrapParamsSchema,
  BootstrapResultSchema,
} from "../../gen/runtime/bootstrap/v1/bootstrap_pb.ts";
import { encodeBootstrap, parseBootstrap } from "./bootstrap.ts";

const message = (version: number, address: string, protocol = "ttrpc") =>
  toBinary(BootstrapResultSchema, create(BootstrapResultSchema, { version, address, protocol }));
const path = "/run/containerd/s/0123";

test.each([
  ["a message", message(3, `unix://${path}`), 3],
  ["JSON", Buffer.from(`{"version":2,"address":"unix://${path}","protocol":"ttrpc"}\n`), 2],
  ["JSON without a protocol", Buffer.from(`{"version":2,"address":"unix://${path}"}`), 2],
  ["an address", Buffer.from(`unix://${path}`), 2],
  ["an address as a line", Buffer.from(`unix://${path}\n`), 2],
  ["a path", Buffer.from(path), 2],
])("parseBootstrap() reads %s", (_name, output, version) => {
  expect(parseBootstrap(output)).toEqual({ version: version as 2 | 3, path });
});

test.each([
  ["nothing", Buffer.alloc(0), "printed nothing"],
  ["white space", Buffer.from("\n\n"), "printed nothing"],
  ["words", Buffer.from("no such container"), "no address"],
  ["bytes", Buffer.from([0xff, 0xfe, 0x00]), "no address"],
  ["a word", Buffer.from("hello"), "no Unix socket"],
  ["another kind of socket", Buffer.from("vsock://3:1024"), "no Unix socket"],
  ["a way out of the directory", Buffer.from("unix:///run/../etc"), "no Unix socket"],
  ["a long path", Buffer.from(`unix:///${"a".repeat(200)}`), "no Unix socket"],
  ["gRPC", message(3, `unix://${path}`, "grpc"), 'speaks "grpc"'],
  ["a newer version", message(4, `unix://${path}`), "version 4"],
  ["JSON of version 1", Buffer.from(`{"version":1,"address":"unix://${path}"}`), "version 1"],
  ["other JSON", Buffer.from('{"address":5,"version":2}'), "not a string"],
  ["JSON that is cut off", Buffer.from('{"version":2,'), "not valid JSON"],
  ["more than any address", Buffer.alloc(1 << 20, 0x61), "no address"],
])("parseBootstrap() refuses %s", (_name, output, reason) => {
  expect(() => parseBootstrap(output)).toThrow(reason);
});

test("encodeBootstrap() says all that a shim has to know", () => {
  const bytes = encodeBootstrap({
    id: "a",
    namespace: "n",
    address: "/x",
    ttrpcAddress: "/x.ttrpc",
    binary: "/crib",
    socketDir: "/s",
    options: undefined,
  });
  expect(fromBinary(BootstrapParamsSchema, bytes)).toMatchObject({
    instanceId: "a",
    namespace: "n",
    containerdTtrpcAddress: "/x.ttrpc",
    socketDir: "/s",
  });
});
