import { createRegistry, type DescFile, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { Code, type ServiceImpl } from "@connectrpc/connect";
import { file_grpc_health_v1_health } from "../gen/grpc/health/v1/health_pb.ts";
import {
  file_grpc_reflection_v1_reflection,
  type ServerReflection,
  type ServerReflectionRequest,
  type ServerReflectionResponseSchema,
} from "../gen/grpc/reflection/v1/reflection_pb.ts";
import { file_grpc_reflection_v1alpha_reflection } from "../gen/grpc/reflection/v1alpha/reflection_pb.ts";
import { file_runtime_v1_api } from "../gen/runtime/v1/api_pb.ts";

type MessageResponse = NonNullable<
  MessageInitShape<typeof ServerReflectionResponseSchema>["messageResponse"]
>;

const files: readonly DescFile[] = [
  file_runtime_v1_api,
  file_grpc_health_v1_health,
  file_grpc_reflection_v1_reflection,
  file_grpc_reflection_v1alpha_reflection,
];

/** grpc.reflection: shows tools like grpcurl what the socket serves. Serves both of its versions. */
export function createReflectionService(): ServiceImpl<typeof ServerReflection> {
  return {
    async *serverReflectionInfo(requests) {
      for await (const request of requests) {
        const { host } = request;
        yield {
          validHost: host,
          originalRequest: request,
          messageResponse: respond(request.messageRequest),
        };
      }
    },
  };
}

function respond(request: ServerReflectionRequest["messageRequest"]): MessageResponse {
  switch (request.case) {
    case "listServices": {
      const services = files.flatMap((file) => file.services.map(({ typeName }) => typeName));
      const service = services.map((name) => ({ name }));
      return { case: "listServicesResponse", value: { service } };
    }
    case "fileByFilename":
      return withImports(files.find(({ proto }) => proto.name === request.value));
    case "fileContainingSymbol":
      return withImports(fileOf(request.value));
    case "fileContainingExtension":
    case "allExtensionNumbersOfType":
      return failure(Code.NotFound, "there are no extensions");
    case undefined:
      return failure(Code.InvalidArgument, "nothing asked");
  }
}

/** Of a type or a service by its full name, or of a method by that of its service and its own. */
function fileOf(symbol: string): DescFile | undefined {
  const registry = createRegistry(...files);
  return (registry.get(symbol) ?? registry.getService(symbol.replace(/\.[^.]*$/, "")))?.file;
}

function withImports(file: DescFile | undefined): MessageResponse {
  if (file === undefined) return failure(Code.NotFound, "no such file or symbol");
  const fileDescriptorProto = [file, ...file.dependencies].map(({ proto }) =>
    toBinary(FileDescriptorProtoSchema, proto),
  );
  return { case: "fileDescriptorResponse", value: { fileDescriptorProto } };
}

function failure(errorCode: Code, errorMessage: string): MessageResponse {
  return { case: "errorResponse", value: { errorCode, errorMessage } };
}
