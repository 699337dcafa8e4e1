import type { Brand } from "./brand.ts";

/** 64 lower-case hex digits, made here, never taken from a client: safe as a file name and a cgroup name. */
export type SandboxId = Brand<string, "SandboxId">;
export type ContainerId = Brand<string, "ContainerId">;

export function generateSandboxId(): SandboxId {
  return generateId() as SandboxId;
}

export function generateContainerId(): ContainerId {
  return generateId() as ContainerId;
}

/** Not by node:crypto: a monitor, which is here for `isId` alone, would take a megabyte and 10 ms more for it. */
function generateId(): string {
  return crypto.getRandomValues(Buffer.alloc(32)).toString("hex");
}

/** Whether a text, such as a file name, looks like an id that was made here. */
export function isId(text: string): boolean {
  return /^[0-9a-f]{64}$/.test(text);
}
