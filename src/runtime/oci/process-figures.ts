import { countDescriptors, softDescriptorLimit } from "../../os/process/process-descriptors.ts";
import type { ProcessFigures } from "../runtime.ts";

/** Sockets beyond these descriptors of one container are not counted: to tell them takes a call for each. */
const maxLinks = 10_000;

/** Of these processes of the node; `first` is that whose limits count. */
export function readProcessFigures(
  pids: readonly number[],
  first: number | undefined,
): ProcessFigures {
  let descriptors = 0;
  let sockets = 0;
  for (const pid of pids) {
    const open = countDescriptors(pid, Math.max(0, maxLinks - descriptors));
    descriptors += open.count;
    sockets += open.sockets;
  }
  const descriptorLimit = first === undefined ? undefined : softDescriptorLimit(first);
  return { count: pids.length, descriptors, sockets, descriptorLimit };
}
