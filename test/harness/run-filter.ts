/** What a process calls, as a seccomp filter sees it. */
export interface SystemCall {
  readonly arch: number;
  readonly number: number;
  readonly args: readonly bigint[];
}

/** Runs the instructions that seccomp filters are made of (linux/filter.h) and returns what they return. */
export function runFilter(program: Buffer, call: SystemCall): number {
  const data = Buffer.alloc(64);
  data.writeUInt32LE(call.number >>> 0, 0);
  data.writeUInt32LE(call.arch >>> 0, 4);
  for (const [i, arg] of call.args.entries()) data.writeBigUInt64LE(arg, 16 + 8 * i);
  let accumulator = 0;
  for (let at = 0; ; at++) {
    const code = program.readUInt16LE(at * 8);
    const value = program.readUInt32LE(at * 8 + 4);
    const jump = (holds: boolean) => program.readUInt8(at * 8 + (holds ? 2 : 3));
    switch (code) {
      case 0x20: // load a word
        accumulator = data.readUInt32LE(value);
        break;
      case 0x54: // and
        accumulator = (accumulator & value) >>> 0;
        break;
      case 0x05: // jump
        at += value;
        break;
      case 0x15: // if equal
        at += jump(accumulator === value);
        break;
      case 0x25: // if greater
        at += jump(accumulator > value);
        break;
      case 0x35: // if greater or equal
        at += jump(accumulator >= value);
        break;
      case 0x45: // if any bit
        at += jump((accumulator & value) !== 0);
        break;
      case 0x06: // return
        return value;
      default:
        throw new Error(`instruction ${code.toString(16)} is not known here`);
    }
  }
}

const architectures = { x64: 0xc000_003e, x86: 0x4000_0003, arm64: 0xc000_00b7 };

/** Calls that tell filters apart: all numbers, and first arguments of all kinds that profiles look at. */
export function* interestingCalls(): Generator<SystemCall> {
  const flags = Array.from({ length: 33 }, (_, bit) => 2n ** BigInt(bit));
  const small = Array.from({ length: 50 }, (_, value) => BigInt(value));
  const odd = [0xffff_ffffn, 0x1_0000_0002n, 0x2_0008n, 0x7e02_0000n, 2n ** 64n - 1n];
  const firsts = [...new Set([...small, ...flags, ...odd])];
  for (const [name, arch] of Object.entries(architectures)) {
    for (const first of name === "arm64" ? [0n] : firsts) {
      for (let number = 0; number < 500; number++) {
        yield { arch, number, args: [first, first, 1n, 0n, 0n, 0n] };
      }
    }
    for (const base of [500, 0x4000_0000, 0x7fff_ff00, 0xffff_ff00]) {
      for (let number = base; number < base + 256; number++) {
        yield { arch, number, args: [0n, 0n, 0n, 0n, 0n, 0n] };
      }
    }
  }
}
