/**
 * What the domain counts, and the label of each: metrics are `crib_<name>_total`, so the names stay.
 */
export const countDescriptions = {
  "image.pulled_bytes": {
    label: "source",
    help: "Compressed bytes of layers that came, by where from: registry, mirror, peer, archive (images in the executable and imported files).",
  },
  "image.saved_bytes": {
    label: "by",
    help: "Compressed bytes of layers that needed not come: layer (it was unpacked already), blob (retained as it came), resume (what an earlier attempt had fetched).",
  },
  "runtime.delegated": {
    label: "reason",
    help: "Containers that crib left to the OCI runtime to create, by what it does not do itself.",
  },
  "recovery.result": {
    label: "result",
    help: "What the daemon found of containers and pods when it was started: container_running, container_ended, container_end_unknown, creation_rolled_back, sandbox_kept, sandbox_lost, sandbox_rolled_back, leftover_removed, failed.",
  },
} as const;

export type CountName = keyof typeof countDescriptions;

/** `ctx.count`: adds to what is counted. The label is one of few, never an id or a name of a user's. */
export type Count = (name: CountName, amount: number, label: string) => void;
