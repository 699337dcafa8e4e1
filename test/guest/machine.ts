import { type Target, targetOf } from "../../embed/target.ts";

/** A machine that QEMU emulates, and Debian's packages for it. */
export interface Machine {
  readonly target: Target;
  readonly emulator: string;
  readonly emulatorPackage: string;
  readonly options: readonly string[];
  readonly console: string;
  readonly kernelPackage: string;
}

const machines: Readonly<Record<Target["arch"], Omit<Machine, "target">>> = {
  amd64: {
    emulator: "qemu-system-x86_64",
    emulatorPackage: "qemu-system-x86",
    options: ["-machine", "q35", "-cpu", "max"],
    console: "ttyS0",
    kernelPackage: "linux-image-cloud-amd64",
  },
  // The processor of a Raspberry Pi 4; pointers of newer ones are signed, which takes an emulator long.
  arm64: {
    emulator: "qemu-system-aarch64",
    emulatorPackage: "qemu-system-arm",
    options: ["-machine", "virt", "-cpu", "cortex-a72"],
    console: "ttyAMA0",
    kernelPackage: "linux-image-cloud-arm64",
  },
};

/** One like this machine, unless `arch` says another. */
export function machineOf(arch?: string): Machine {
  const target = targetOf(arch);
  return { ...machines[target.arch], target };
}
