import { constants } from "node:os";
import * as pb from "../gen/runtime/v1/api_pb.ts";

const SIGRTMIN = 34;
const SIGRTMAX = 64;

const byNumber = new Map<number, pb.Signal>();
for (const [name, number] of Object.entries(constants.signals)) {
  const signal = (pb.Signal as Readonly<Record<string, pb.Signal>>)[name];
  // Two names of one number: SIGABRT and SIGIOT, SIGIO and SIGPOLL. The first is the usual one.
  if (signal !== undefined && !byNumber.has(number)) byNumber.set(number, signal);
}

/** The CRI's name of a Linux signal number. */
export function toSignal(number: number): pb.Signal {
  // SIGRTMIN is 35 there, and they follow each other up to SIGRTMAX, 65.
  if (number >= SIGRTMIN && number <= SIGRTMAX) return (number + 1) as pb.Signal;
  return byNumber.get(number) ?? pb.Signal.RUNTIME_DEFAULT;
}
