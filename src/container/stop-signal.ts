import { constants } from "node:os";
import type * as pb from "../gen/runtime/v1/api_pb.ts";
import { invalidArgument } from "../lib/errors.ts";

const SIGRTMIN = 34; // as glibc and musl count: the kernel's 32 and 33 belong to the threads library
const SIGRTMAX = 64;

/** What StopContainer sends first when neither the client nor the image says. */
const defaultStopSignal: number = constants.signals.SIGTERM;

/** A Linux signal by number or name, with or without SIG: `SIGTERM`, `quit`, `9`, `SIGRTMIN+3` (image-spec StopSignal). */
export function parseSignal(text: string): number {
  const name = text.toUpperCase().replace(/^SIG/, "");
  if (/^[0-9]{1,2}$/.test(name)) return checked(Number(name), text);
  const realtime = /^RT(MIN|MAX)(?:([+-])([0-9]{1,2}))?$/.exec(name);
  if (realtime !== null) {
    const [, from, sign, distance = "0"] = realtime;
    const base = from === "MIN" ? SIGRTMIN : SIGRTMAX;
    return checked(sign === "-" ? base - Number(distance) : base + Number(distance), text);
  }
  const known: Readonly<Record<string, number>> = {
    ...constants.signals,
    SIGCLD: constants.signals.SIGCHLD,
  };
  return checked(Object.hasOwn(known, `SIG${name}`) ? (known[`SIG${name}`] ?? 0) : 0, text);
}

/** CRI's names of signals in the order of its numbers from 1 on (api.proto Signal), which are not Linux's. */
const criSignalNames =
  "ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT SEGV STKFLT STOP SYS TERM TRAP " +
  "TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ RTMIN RTMIN+1 RTMIN+2 RTMIN+3 RTMIN+4 RTMIN+5 RTMIN+6 RTMIN+7 " +
  "RTMIN+8 RTMIN+9 RTMIN+10 RTMIN+11 RTMIN+12 RTMIN+13 RTMIN+14 RTMIN+15 RTMAX-14 RTMAX-13 RTMAX-12 RTMAX-11 RTMAX-10 " +
  "RTMAX-9 RTMAX-8 RTMAX-7 RTMAX-6 RTMAX-5 RTMAX-4 RTMAX-3 RTMAX-2 RTMAX-1 RTMAX";
/** Linux's number by CRI's; 0 is RUNTIME_DEFAULT. */
const criSignals: readonly number[] = [0, ...criSignalNames.split(" ").map(parseSignal)];

/** The signal that the client asks for, else the image's, else SIGTERM. An image's nonsense is SIGTERM too. */
export function stopSignalOf(asked: pb.Signal, imageSignal: string | undefined): number {
  const signal = criSignals[asked] ?? 0;
  if (signal !== 0) return signal;
  try {
    return imageSignal === undefined ? defaultStopSignal : parseSignal(imageSignal);
  } catch {
    return defaultStopSignal;
  }
}

/** The first of CRI's names that means this signal, so ABRT and not IOT: what ContainerStatus says. */
export function toCriSignal(signal: number): pb.Signal {
  return Math.max(criSignals.indexOf(signal), 0) as pb.Signal;
}

function checked(signal: number, text: string): number {
  const isReserved = signal > 31 && signal < SIGRTMIN;
  if (signal >= 1 && signal <= SIGRTMAX && !isReserved) return signal;
  throw invalidArgument(`unknown signal ${JSON.stringify(text.slice(0, 40))}`);
}
