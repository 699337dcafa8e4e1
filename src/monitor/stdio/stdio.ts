import type { OwnedFd } from "../../os/file/owned-fd.ts";
import type { ContainerPlan } from "../../runtime/monitor/monitor-protocol.ts";
import {
  makePipes,
  openContainerOutput,
  openInputPair,
  openNull,
  openOutput,
  removePipes,
} from "./pipes.ts";

/** What a new container has as 0, 1 and 2, to be closed once it has them, and our ends. */
export interface Stdio {
  readonly theirs: readonly [stdin: OwnedFd, stdout: OwnedFd, stderr: OwnedFd];
  readonly stdin: OwnedFd | undefined;
  readonly stdout: OwnedFd | undefined;
  readonly stderr: OwnedFd | undefined;
}

/** Our ends, and the pipes themselves, go with `open`. A container with a terminal gets it elsewhere. */
export function openStdio(plan: ContainerPlan, open: DisposableStack): Stdio {
  using theirs = new DisposableStack();
  const nothing = () => theirs.use(openNull());
  if (plan.terminal) {
    const ends = [nothing(), nothing(), nothing()] as const;
    theirs.move();
    return { theirs: ends, stdin: undefined, stdout: undefined, stderr: undefined };
  }
  open.defer(() => removePipes(plan.dir));
  makePipes(plan.dir, plan.stdin ? ["stdin", "stdout", "stderr"] : ["stdout", "stderr"]);
  const output = (name: "stdout" | "stderr") => {
    const ours = open.use(openOutput(plan.dir, name));
    return { ours, theirs: theirs.use(openContainerOutput(plan.dir, name)) };
  };
  const stdout = output("stdout");
  const stderr = output("stderr");
  const input = plan.stdin ? openInputPair(plan.dir) : undefined;
  const ends = [
    input === undefined ? nothing() : theirs.use(input.theirs),
    stdout.theirs,
    stderr.theirs,
  ] as const;
  theirs.move();
  return {
    theirs: ends,
    stdin: input === undefined ? undefined : open.use(input.ours),
    stdout: stdout.ours,
    stderr: stderr.ours,
  };
}
