import { abortable } from "../../lib/abortable.ts";
import { defineCommand } from "../command.ts";
import { UsageError } from "../failure.ts";
import { plain } from "../output/output.ts";
import { type ForwardedPort, Forwarder } from "../streams/forwarder.ts";
import { getTarget, targetOptions } from "../target.ts";

export const portForward = defineCommand({
  name: "port-forward",
  group: "containers and pods",
  summary: "reach ports of a pod from this node, until Ctrl-C",
  usage: "POD [LOCAL:]REMOTE...",
  details: [
    "Also reaches what listens on the pod's 127.0.0.1 only. Prints each address that it listens on; without LOCAL",
    "that is REMOTE here too, and an empty or zero LOCAL is any free port. A connection that fails is told on",
    "stderr, and the others go on. Ends when it finds the pod gone.",
  ].join(" "),
  examples: [
    "crib port-forward web 8080:80",
    "crib port-forward web :80 5432",
    "crib port-forward --address 0.0.0.0 web 8080:80",
  ],
  options: {
    address: { kind: "value", argument: "IP", help: "where to listen (127.0.0.1)" },
    ...targetOptions,
  },
  positionals: { min: 2, max: 101 },
  async run(env, options, [key = "", ...texts]) {
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
});

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
