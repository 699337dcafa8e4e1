import { openDatagramSocket, sendDatagram } from "../os/socket/unix-datagram.ts";

/** Notifies systemd of what this service does (sd_notify(3)). Does nothing where nobody listens (`socket` undefined). */
export function notify(socket: string | undefined, state: "READY=1" | "STOPPING=1"): void {
  if (socket === undefined) return;
  if (!/^[/@]./.test(socket)) throw new RangeError(`NOTIFY_SOCKET is neither a path nor @name`);
  using fd = openDatagramSocket();
  sendDatagram(fd.fd, socket, Buffer.from(state));
}
