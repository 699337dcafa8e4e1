import { randomBytes } from "node:crypto";
import type { Brand } from "./brand.ts";

/** 64 lower-case hex digits, made here, never taken from a client: safe as a file name and a cgroup name. */
export type SandboxId = Brand<string, "SandboxId">;
export type ContainerId = Brand<string, "ContainerId">;

export function generateSandboxId(): SandboxId {
  return randomBytes(32).toString("hex") as SandboxId;
}

export function generateContainerId(): ContainerId {
  return randomBytes(32).toString("hex") as ContainerId;
}

/** Whether a text, such as a file name, looks like an id that was made here. */
export function isId(text: string): boolean {
  return /^[0-9a-f]{64}$/.test(text);
}
