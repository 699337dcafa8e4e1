import type { Node } from "./node.ts";

/** Whether the kernel has something: built in, as a module that can be loaded, not at all, or nobody says. */
export type Presence = "yes" | "module" | "no" | "unknown";

export interface KernelConfig {
  /** By its option without CONFIG_ and, for what can be a module, the module's name. */
  has(option: string, module?: string): Presence;
}

/** From the kernel's configuration where it is to be had, else from what is loaded and what can be. */
export function readKernelConfig(node: Node): KernelConfig {
  const modules = `/lib/modules/${node.kernel}`;
  const files = ["/proc/config.gz", `/boot/config-${node.kernel}`, `${modules}/config`];
  const config = files.map((path) => node.read(path)).find((text) => text !== undefined);
  const loaded = new Set([
    ...node.list("/sys/module"),
    ...(node.read("/proc/modules") ?? "").split("\n").map((line) => line.split(" ")[0] ?? ""),
  ]);
  const builtin = node.read(`${modules}/modules.builtin`) ?? "";
  const loadable = node.read(`${modules}/modules.dep`) ?? "";
  return {
    has(option, module) {
      if (module !== undefined && loaded.has(module)) return "yes";
      if (config !== undefined && new RegExp(`^CONFIG_${option}=y$`, "m").test(config))
        return "yes";
      if (module !== undefined) {
        const file = new RegExp(`/${module.replace(/[-_]/g, "[-_]")}\\.ko`);
        if (file.test(builtin)) return "yes";
        if (file.test(loadable)) return "module";
      }
      // "=m" without the module's file: the kernel was updated, or the modules package is missing.
      return config === undefined ? "unknown" : "no";
    },
  };
}
