import * as pb from "../../gen/runtime/v1/api_pb.ts";
import { invalidArgument } from "../../lib/errors.ts";
import { checkMessage } from "./check-message.ts";
import { checkLabels, checkName, fail } from "./check-metadata.ts";

// MAX_ARG_STRLEN of execve(2), with its NUL.
const maxArgumentBytes = 131_071;

/** The form of a container's configuration; what it asks for is checked where it becomes an OCI spec. */
export function checkContainerConfig(config: pb.ContainerConfig | undefined): pb.ContainerConfig {
  if (config === undefined) throw invalidArgument("config is missing");
  checkMessage(pb.ContainerConfigSchema, config, "config");
  if (config.metadata === undefined) throw invalidArgument("config.metadata is missing");
  checkName("config.metadata.name", config.metadata.name);
  if ((config.image?.image ?? "") === "") throw invalidArgument("config.image is missing");
  checkLabels(config.labels);
  checkArguments("config.command", config.command);
  checkArguments("config.args", config.args);
  if (config.logPath.startsWith("/") || config.logPath.split("/").includes("..")) {
    throw fail("config.log_path", config.logPath, "not a path below the log directory");
  }
  for (const mount of config.mounts) {
    if (mount.containerPath === "")
      throw invalidArgument("config.mounts.container_path is missing");
    if (mount.image !== undefined && mount.hostPath !== "") {
      throw fail("config.mounts", mount.containerPath, "both host_path and image are set");
    }
  }
  return config;
}

/** The argv of an exec. */
export function checkCommand(command: readonly string[]): readonly string[] {
  if ((command[0] ?? "") === "") throw invalidArgument("cmd is missing");
  checkArguments("cmd", command);
  return command;
}

function checkArguments(field: string, values: readonly string[]): void {
  for (const value of values) {
    if (Buffer.byteLength(value) > maxArgumentBytes) {
      throw invalidArgument(`${field}: an argument over ${maxArgumentBytes} bytes`);
    }
  }
}
