import { connect } from "node:net";
import { isErrno } from "../errno-error.ts";

/** Whether a process listens on the Unix socket at `path`. False where there is none, or what made it is gone. */
export function isListening(path: string): Promise<boolean> {
  const { promise, resolve, reject } = Promise.withResolvers<boolean>();
  const probe = connect(path);
  probe.once("connect", () => {
    probe.destroy();
    resolve(true);
  });
  probe.once("error", (err) => {
    if (isErrno(err, "ECONNREFUSED") || isErrno(err, "ENOENT")) resolve(false);
    else reject(err);
  });
  return promise;
}
