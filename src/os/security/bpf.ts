/** Classic BPF (linux/filter.h), as seccomp(2) takes it. A jump counts instructions after its own. */
export type Instruction = readonly [code: number, ifTrue: number, ifFalse: number, value: number];

export const LOAD = 0x20;
export const JUMP = 0x05;
export const JUMP_EQUAL = 0x15;
export const JUMP_GREATER = 0x25;
export const JUMP_AT_LEAST = 0x35;
export const JUMP_ANY_BIT = 0x45;
export const RETURN = 0x06;

export const instructionBytes = 8;
/** BPF_MAXINSNS */
export const maxInstructions = 4096;

/** An array of struct sock_filter. */
export function assemble(instructions: readonly Instruction[]): Buffer {
  const program = Buffer.alloc(instructions.length * instructionBytes);
  for (const [i, [code, ifTrue, ifFalse, value]] of instructions.entries()) {
    program.writeUInt16LE(code, i * instructionBytes);
    program.writeUInt8(ifTrue, i * instructionBytes + 2);
    program.writeUInt8(ifFalse, i * instructionBytes + 3);
    program.writeUInt32LE(value >>> 0, i * instructionBytes + 4);
  }
  return program;
}
