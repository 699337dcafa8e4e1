import { expect, test } from "bun:test";
import { createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { Code, createClient, createRouterTransport } from "@connectrpc/connect";
import {
  ServerReflection,
  type ServerReflectionRequest,
} from "../gen/grpc/reflection/v1/reflection_pb.ts";
import { ServerReflection as OldReflection } from "../gen/grpc/reflection/v1alpha/reflection_pb.ts";
import { createReflectionService } from "./reflection.ts";

type Question = ServerReflectionRequest["messageRequest"];

const transport = createRouterTransport((router) => {
  router.service(ServerReflection, createReflectionService());
  router.service(OldReflection, createReflectionService());
});

async function ask(...questions: Question[]) {
  async function* requests() {
    for (const messageRequest of questions) yield { host: "h", messageRequest };
  }
  const responses = [];
  for await (const { messageResponse } of createClient(
    ServerReflection,
    transport,
  ).serverReflectionInfo(requests())) {
    responses.push(messageResponse);
  }
  return responses;
}

test("lists the services", async () => {
  const [response] = await ask({ case: "listServices", value: "" });
  const names =
    response?.case === "listServicesResponse" ? response.value.service.map(({ name }) => name) : [];
  expect(names.sort()).toEqual([
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "runtime.v1.ImageService",
    "runtime.v1.RuntimeService",
  ]);
});

test.each([
  "runtime.v1.RuntimeService",
  "runtime.v1.RuntimeService.Version",
  "runtime.v1.Container",
])("gives the file that declares %s", async (value) => {
  const [response] = await ask({ case: "fileContainingSymbol", value });
  if (response?.case !== "fileDescriptorResponse") throw new Error(`${response?.case}`);
  const [bytes = Buffer.alloc(0)] = response.value.fileDescriptorProto;
  const file = fromBinary(FileDescriptorProtoSchema, bytes);
  const registry = createFileRegistry(file, () => undefined);
  expect(registry.getService("runtime.v1.RuntimeService")?.methods.length).toBeGreaterThan(30);
});

test("gives a file with what it imports", async () => {
  const value = "grpc/reflection/v1alpha/reflection.proto";
  const [response] = await ask({ case: "fileByFilename", value });
  if (response?.case !== "fileDescriptorResponse") throw new Error(`${response?.case}`);
  const names = response.value.fileDescriptorProto.map(
    (bytes) => fromBinary(FileDescriptorProtoSchema, bytes).name,
  );
  expect(names).toEqual([value, "grpc/reflection/v1/reflection.proto"]);
});

test("returns an error for what it does not have, and for what it is not asked", async () => {
  const responses = await ask(
    { case: "fileContainingSymbol", value: "no.Such" },
    { case: "fileByFilename", value: "../etc/passwd" },
    { case: "allExtensionNumbersOfType", value: "x" },
    { case: undefined },
  );
  const codes = responses.map((response) =>
    response.case === "errorResponse" ? response.value.errorCode : undefined,
  );
  expect(codes).toEqual([Code.NotFound, Code.NotFound, Code.NotFound, Code.InvalidArgument]);
});

test("serves older clients under their name", async () => {
  async function* requests() {
    yield { messageRequest: { case: "listServices", value: "" } } as const;
  }
  for await (const { messageResponse } of createClient(
    OldReflection,
    transport,
  ).serverReflectionInfo(requests())) {
    expect(messageResponse.case).toBe("listServicesResponse");
  }
});
