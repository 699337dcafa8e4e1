import type { OwnProgram } from "../../src/os/process/command.ts";
import { CommandServer } from "../../src/os/process/command-server.ts";
import { findBuilt } from "./built.ts";

const server = new CommandServer(findBuilt("pause", "commands"));

/** A static program of the executable, started as the daemon does. */
export function ownProgram(name: "links" | "namespaces"): OwnProgram {
  return { path: findBuilt("pause", name), run: server.run };
}
