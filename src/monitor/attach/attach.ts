import { AppError, failedPrecondition } from "../../lib/errors.ts";
import { duplicate } from "../../os/file/io.ts";
import type { AttachRequest } from "../../runtime/monitor/monitor-protocol.ts";
import type { HandedOver } from "../connection.ts";
import type { MonitoredContainer } from "../container.ts";
import type { Loop } from "../loop.ts";
import { noProcess } from "../record.ts";
import { ContainerInput } from "../stdio/input.ts";
import { AttachedClient } from "./attached-client.ts";
import { AttachedClients } from "./attached-clients.ts";

const maxAttachments = 100;

/** Throws when nobody can attach to the container now. */
export function checkAttach(container: MonitoredContainer): void {
  const { id, clients, exited, plan, terminal } = container;
  if (exited !== undefined) throw failedPrecondition(`container ${id} has ended`);
  if ((clients?.size ?? 0) >= maxAttachments) {
    const message = `container ${id} has ${maxAttachments} attached clients`;
    throw new AppError(message, { kind: "resource-exhausted" });
  }
  if (plan.terminal && terminal === undefined && container.process.pid !== noProcess) {
    throw new AppError(`the terminal of ${id} is not here yet`, { kind: "unavailable" });
  }
}

/**
 * Connects a client with the container's streams from now on. `onStdinClosed` comes when this was the one client
 * that a container with `stdinOnce` takes input from, and there will be no more.
 */
export function attach(
  loop: Loop,
  container: MonitoredContainer,
  request: AttachRequest,
  connection: HandedOver,
  onStdinClosed: () => void,
): void {
  const { plan } = container;
  container.clients ??= new AttachedClients(loop, container.outputs);
  const { clients } = container;
  const onInputEnd = () => {
    if (!request.stdin || !plan.stdinOnce || plan.terminal || container.isStdinClosed) return;
    container.closeStdin();
    onStdinClosed();
  };
  const attachment: AttachedClient = new AttachedClient({
    ...connection,
    loop,
    wants: request,
    onInput: (bytes, onDone) => {
      const input = request.stdin && plan.stdin ? inputOf(loop, container) : undefined;
      if (input === undefined) onDone();
      else input.write(bytes, onDone);
    },
    onInputEnd,
    onCaughtUp: () => clients.caughtUp(),
    onClose: () => {
      clients.delete(attachment);
      onInputEnd();
    },
  });
  clients.add(attachment);
  attachment.start();
}

function inputOf(loop: Loop, container: MonitoredContainer): ContainerInput | undefined {
  const { terminal, stdin } = container;
  if (container.input === undefined) {
    // The terminal's own descriptor is watched for output.
    const fd = terminal === undefined ? stdin : duplicate(terminal.fd);
    if (fd !== undefined) container.input = new ContainerInput(fd, loop);
  }
  return container.input;
}
