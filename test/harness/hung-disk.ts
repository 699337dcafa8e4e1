import { closeSync, constants, mkdirSync, openSync, readSync, writeSync } from "node:fs";
import { eventually } from "./eventually.ts";

const FUSE_INIT = 26;
const requestBytes = 128 << 10;

/**
 * A file system that takes every request and never responds, as a network's whose server has gone. Whoever asks it is in
 * an uninterruptible call until this is disposed.
 */
export async function hungDisk(path: string): Promise<Disposable> {
  mkdirSync(path, { recursive: true });
  const fuse = openSync("/dev/fuse", constants.O_RDWR | constants.O_NONBLOCK);
  const options = "fd=3,rootmode=40000,user_id=0,group_id=0,allow_other";
  const mounted = Bun.spawnSync(["mount", "-i", "-t", "fuse", "hung", path, "-o", options], {
    stdio: ["ignore", "ignore", "pipe", fuse],
  });
  if (mounted.exitCode !== 0) throw new Error(mounted.stderr?.toString());
  const request = Buffer.alloc(requestBytes);
  await eventually(() => readSync(fuse, request));
  if (request.readUInt32LE(4) !== FUSE_INIT) throw new Error("the kernel did not begin with INIT");
  writeSync(fuse, initAnswer(request.readBigUInt64LE(8)));
  // Read, they can no longer be taken back by a signal.
  const reading = setInterval(() => {
    try {
      for (;;) readSync(fuse, request);
    } catch {
      // No more at the moment.
    }
  }, 5);
  return {
    [Symbol.dispose]: () => {
      clearInterval(reading);
      closeSync(fuse); // ends every call that waits
      Bun.spawnSync(["umount", "-l", path]);
    },
  };
}

/** fuse_out_header and fuse_init_out (linux/fuse.h), of version 7.31. */
function initAnswer(unique: bigint): Buffer {
  const answer = Buffer.alloc(16 + 64);
  answer.writeUInt32LE(answer.byteLength, 0);
  answer.writeBigUInt64LE(unique, 8);
  answer.writeUInt32LE(7, 16);
  answer.writeUInt32LE(31, 20);
  answer.writeUInt32LE(4096, 36); // max_write
  return answer;
}
