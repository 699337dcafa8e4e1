import { existsSync, readFileSync } from "node:fs";
import { bundleOf } from "../../bundle/bundle.ts";
import type { CompatContainer, ContainerdApiDeps } from "../../compat/containerd-api.ts";
import { nameOfImage } from "../../container/container.ts";
import { shownImageName } from "../../image/image-name.ts";
import { abortable } from "../../lib/abortable.ts";
import { notFound } from "../../lib/errors.ts";
import type { ContainerId } from "../../lib/id.ts";
import { isErrno } from "../../os/errno-error.ts";
import { version } from "../../version.ts";
import type { Domain } from "./bind-cri.ts";

/** cAdvisor waits for two seconds. */
const creatingMs = 1800;
const lookAgainMs = 20;

/** The records as containerd's API shows them. */
export function bindContainerdApi({
  config,
  deps: { sandboxes, containers, stateDir },
  images,
}: Pick<Domain, "config" | "deps" | "images">): ContainerdApiDeps {
  const findContainer = (id: string): CompatContainer | undefined => {
    const container = containers.find(id as ContainerId);
    if (container === undefined) return undefined;
    const { sandboxId, createdAtNs, state, imageId } = container;
    const image = images.images.find(imageId);
    const imageName = shownImageName(image, nameOfImage(container.config));
    const { labels } = container.config;
    return { id, sandboxId, kind: "container", labels, imageName, createdAtNs, state };
  };
  const findInfra = (id: string): CompatContainer | undefined => {
    const sandbox = sandboxes.list().find((one) => one.infra?.id === id);
    if (sandbox === undefined || sandbox.state === "not-ready") return undefined;
    const { createdAtNs, infra } = sandbox;
    const pid = infra?.pid ?? 0;
    return {
      ...{ id, sandboxId: sandbox.id, kind: "sandbox", createdAtNs },
      labels: sandbox.config.labels,
      imageName: config.sandboxImage,
      state: pid === 0 ? undefined : { name: "running", pid, startedAtNs: createdAtNs },
    };
  };
  return {
    version,
    async find(id, signal) {
      if (!/^[0-9a-f]{64}$/.test(id)) return undefined;
      const { dir } = bundleOf(stateDir, id as ContainerId);
      const deadline = performance.now() + creatingMs;
      for (;;) {
        const found = findContainer(id) ?? findInfra(id);
        if (found !== undefined || !existsSync(dir) || performance.now() > deadline) return found;
        // Its cgroup is there before its record.
        await abortable(Bun.sleep(lookAgainMs), signal);
      }
    },
    readSpec(id) {
      try {
        return readFileSync(bundleOf(stateDir, id as ContainerId).config);
      } catch (err) {
        if (isErrno(err, "ENOENT")) throw notFound(`the OCI configuration of container ${id}`);
        throw err;
      }
    },
  };
}
