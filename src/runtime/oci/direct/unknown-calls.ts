import {
  assemble,
  type Instruction,
  JUMP,
  JUMP_ANY_BIT,
  JUMP_EQUAL,
  JUMP_GREATER,
  LOAD,
  RETURN,
} from "../../../os/security/bpf.ts";

/** The highest system call that a profile names, for one architecture as filters see it. */
export interface LastCall {
  readonly auditArch: number;
  /** Of calls without and with this bit, where an architecture has two kinds (x32). */
  readonly number: number;
  readonly x32?: number | undefined;
}

const AUDIT_ARCH_X86_64 = 0xc000_003e;
const x32Bit = 0x4000_0000;
const SECCOMP_RET_ENOSYS = 0x0005_0026;
// offsetof in struct seccomp_data.
const atNumber = 0;
const atArchitecture = 4;

/**
 * What runc puts in front of a filter that refuses by default: a call that is newer than all that its profile knows is
 * refused with ENOSYS. C libraries try such a call first and do without it only if there is none.
 */
export function unknownCalls(lastCalls: readonly LastCall[]): Buffer {
  const sections = lastCalls.map(sectionOf);
  const total = sections.reduce((sum, section) => sum + section(0, 0).length + 1, 0);
  const program: Instruction[] = [[LOAD, 0, 0, atArchitecture]];
  let left = total;
  for (const [i, section] of sections.entries()) {
    const length = section(0, 0).length;
    left -= length + 1;
    // Behind all sections: one instruction that leads to the filter, and one that refuses.
    program.push([JUMP_EQUAL, 0, length, lastCalls[i]?.auditArch ?? 0], ...section(left, left + 1));
  }
  return assemble([...program, [JUMP, 0, 0, 1], [RETURN, 0, 0, SECCOMP_RET_ENOSYS]]);
}

/** For calls of one architecture; the jumps lead as far behind the section's end. */
function sectionOf({ auditArch, number, x32 }: LastCall) {
  return (toFilter: number, toRefusal: number): readonly Instruction[] => {
    const load: Instruction = [LOAD, 0, 0, atNumber];
    if (auditArch !== AUDIT_ARCH_X86_64) {
      return [load, [JUMP_GREATER, toRefusal, toFilter, number]];
    }
    if (x32 === undefined) {
      return [
        load,
        [JUMP_ANY_BIT, toFilter + 1, 0, x32Bit],
        [JUMP_GREATER, toRefusal, toFilter, number],
      ];
    }
    return [
      load,
      [JUMP_ANY_BIT, 1, 0, x32Bit],
      [JUMP_GREATER, toRefusal + 1, toFilter + 1, number],
      [JUMP_GREATER, toRefusal, toFilter, x32],
    ];
  };
}
