import { abortable } from "../../lib/abortable.ts";
import { implementCommand } from "../command.ts";
import { UsageError } from "../failure.ts";
import { plain } from "../output/output.ts";
import { type ForwardedPort, Forwarder } from "../streams/forwarder.ts";
import { getTarget } from "../target.ts";

export const portForward = implementCommand(
  "port-forward",
  async (env, options, [key = "", ...texts]) => {
    const ports = texts.map(parsePort);
    const address = options.address ?? "127.0.0.1";
    using cri = env.connect();
    const { signal } = env.ctx;
    const target = await getTarget(cri, key, options, signal);
    const id = target.kind === "pod" ? target.pod.id : target.container.podSandboxId;
    // Says at once where the pod is not ready.
    await cri.runtime.portForward({ podSandboxId: id }, { signal });
    using forwarder = new Forwarder(env, cri, id);
    for (const port of ports) {
      const local = forwarder.listen(address, port);
      const host = address.includes(":") ? `[${address}]` : address;
      env.out.write(`${host}:${local} -> ${plain(key)}:${port.remote}\n`);
    }
    return await abortable(forwarder.failed, signal);
  },
);

/** `80`, `8080:80` or `:80`. */
function parsePort(text: string): ForwardedPort {
  const { local, remote = "" } =
    /^(?:(?<local>\d{0,5}):)?(?<remote>\d{1,5})$/.exec(text)?.groups ?? {};
  const ports = { local: Number(local ?? remote), remote: Number(remote) };
  if (ports.remote < 1 || ports.remote > 65_535 || ports.local > 65_535) {
    throw new UsageError(`${text}: not [LOCAL:]REMOTE`);
  }
  return ports;
}
