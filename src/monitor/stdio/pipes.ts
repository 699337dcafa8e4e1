import { closeSync, constants, openSync, rmSync } from "node:fs";
import { makeFifo } from "../../os/file/fifo.ts";
import { OwnedFd } from "../../os/file/owned-fd.ts";
import { heldLinePath } from "./held-line.ts";

const { O_NONBLOCK, O_RDONLY, O_RDWR, O_WRONLY } = constants;

export type PipeName = "stdin" | "stdout" | "stderr";

const names: readonly PipeName[] = ["stdin", "stdout", "stderr"];

/** The monitor's end of a container's output, which does not block. It opens whether or not anybody writes. */
export function openOutput(dir: string, name: "stdout" | "stderr"): OwnedFd {
  return new OwnedFd(openSync(`${dir}/${name}`, O_RDONLY | O_NONBLOCK));
}

/**
 * The container's end of its output, open for reading too: so it holds its own pipe open, and writes into the void
 * (or waits, once the pipe is full) instead of dying of SIGPIPE while there is no monitor.
 */
export function openContainerOutput(dir: string, name: "stdout" | "stderr"): OwnedFd {
  return new OwnedFd(openSync(`${dir}/${name}`, O_RDWR));
}

/** The monitor's end of stdin. Throws ENXIO when nobody reads it. */
export function openInput(dir: string): OwnedFd {
  return new OwnedFd(openSync(`${dir}/stdin`, O_WRONLY | O_NONBLOCK));
}

/** Like `openInput`, also before anybody reads it; whoever reads sees the end when we close ours, as before. */
export function openInputOpenly(dir: string): OwnedFd {
  return new OwnedFd(openSync(`${dir}/stdin`, O_RDWR | O_NONBLOCK));
}

/** Both ends of stdin. The container gets only the reading one: it must see the end when we close ours. */
export function openInputPair(dir: string): { readonly ours: OwnedFd; readonly theirs: OwnedFd } {
  const both = openSync(`${dir}/stdin`, O_RDWR | O_NONBLOCK); // so that neither open waits for the other
  try {
    const theirs = new OwnedFd(openSync(`${dir}/stdin`, O_RDONLY));
    return { ours: openInput(dir), theirs };
  } finally {
    closeSync(both);
  }
}

export function openNull(): OwnedFd {
  return new OwnedFd(openSync("/dev/null", O_RDWR));
}

/** Makes the pipes anew. Their owner becomes the container's user when the OCI runtime sets up its stdio. */
export function makePipes(dir: string, wanted: readonly PipeName[]): void {
  removePipes(dir);
  for (const name of wanted) makeFifo(`${dir}/${name}`, 0o600);
}

export function removePipes(dir: string): void {
  for (const name of names) rmSync(`${dir}/${name}`, { force: true });
  for (const stream of ["stdout", "stderr"] as const) {
    rmSync(heldLinePath(dir, stream), { force: true });
  }
}
