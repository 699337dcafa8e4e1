/** `missing`: pods do not run, or kubelets refuse the node. `warning`: something works less well. */
export type Level = "ok" | "warning" | "missing";

export interface Finding {
  readonly area:
    | "kernel"
    | "cgroups"
    | "network"
    | "storage"
    | "node"
    | "configuration"
    | "runtime handlers";
  readonly name: string;
  readonly level: Level;
  /** What is there; where it is not ok, why it matters and what to do. */
  readonly detail: string;
}

/** Binds the area, so that a list of findings reads as one. */
export function findingsOf(area: Finding["area"]) {
  return (name: string, level: Level, detail: string): Finding => ({ area, name, level, detail });
}
