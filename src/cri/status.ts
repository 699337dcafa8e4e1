import { isIP } from "node:net";
import type { ServiceImpl } from "@connectrpc/connect";
import * as pb from "../gen/runtime/v1/api_pb.ts";
import { contextOf } from "./call/interceptor.ts";
import type { CriDeps, HandlerFeatures, NodeDeps } from "./deps.ts";
import { fail } from "./request/check-metadata.ts";

type Methods = Pick<
  ServiceImpl<typeof pb.RuntimeService>,
  "version" | "status" | "runtimeConfig" | "updateRuntimeConfig"
>;

export function statusMethods({ node }: Pick<CriDeps, "node">): Methods {
  return {
    version() {
      return {
        version: "0.1.0", // of the kubelet's runtime API; the kubelet takes no other
        runtimeName: "crib",
        runtimeVersion: node.version,
        runtimeApiVersion: "v1",
      };
    },

    async status({ verbose }, handler) {
      const network = await node.networkStatus(contextOf(handler));
      return {
        status: {
          // That it responds says that it is ready: until recovery is over no call gets here.
          conditions: [
            { type: "RuntimeReady", status: true },
            { type: "NetworkReady", ...network },
          ],
        },
        runtimeHandlers: handlersOf(node),
        features: {
          supplementalGroupsPolicy: true,
          mountOptions: true,
          cgroupMountMode: true,
          seccompProfileOci: true,
          userNamespacesHostNetwork: node.handlers.some(({ userNamespaces }) => userNamespaces),
        },
        info: verbose ? nodeInfo(node) : {},
      };
    },

    runtimeConfig() {
      const { SYSTEMD, CGROUPFS } = pb.CgroupDriver;
      return { linux: { cgroupDriver: node.cgroupDriver === "systemd" ? SYSTEMD : CGROUPFS } };
    },

    async updateRuntimeConfig({ runtimeConfig }, handler) {
      const podCidr = runtimeConfig?.networkConfig?.podCidr ?? "";
      if (podCidr === "") return {};
      const cidrs = podCidr.split(",");
      if (cidrs.length > 2 || !cidrs.every(isCidr)) {
        throw fail("runtime_config.network_config.pod_cidr", podCidr, "not one or two CIDRs");
      }
      await node.setPodCidr(contextOf(handler), podCidr);
      return {};
    },
  };
}

/** Every handler, and under "" the default one: what kubelets and critest look at first. */
function handlersOf(node: NodeDeps) {
  const entry = (name: string, features: HandlerFeatures) => ({
    name,
    features: {
      recursiveReadOnlyMounts: features.recursiveReadOnlyMounts,
      userNamespaces: features.userNamespaces,
      cgroupNamespaces: features.cgroupNamespaces,
    },
  });
  const named = node.handlers.filter(({ name }) => name !== "");
  const standard = named.filter(({ name }) => name === node.defaultHandler);
  return [
    ...standard.map((handler) => entry("", handler)),
    ...named.map((handler) => entry(handler.name, handler)),
  ];
}

/** `config` is what critest and image checkers read from containerd too: sandboxImage and stateDir. */
function nodeInfo(node: NodeDeps): Record<string, string> {
  const config = {
    sandboxImage: node.sandboxImage,
    stateDir: node.stateDir,
    rootDir: node.rootDir,
    cgroupDriver: node.cgroupDriver,
    defaultRuntimeHandler: node.defaultHandler,
    noUserNamespaces: node.whyNoUserNamespaces,
  };
  const versions = { crib: node.version, ...node.parts };
  return { config: JSON.stringify(config), versions: JSON.stringify(versions) };
}

function isCidr(text: string): boolean {
  const [address = "", length = "", ...rest] = text.split("/");
  const family = isIP(address);
  const bits = /^\d{1,3}$/.test(length) ? Number(length) : -1;
  return family !== 0 && rest.length === 0 && bits >= 0 && bits <= (family === 4 ? 32 : 128);
}
