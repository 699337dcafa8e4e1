import type { containerdRoutes } from "../../compat/containerd-api.ts";
import { describe } from "../../lib/errors.ts";
import type { Log } from "../../lib/log.ts";
import type { Config } from "../config/config.ts";
import { bindContainerdApi } from "../graph/bind-compat.ts";
import type { Domain } from "../graph/bind-cri.ts";
import { type ListenOptions, listen } from "./listen.ts";

export type LoadContainerdApi = () => Promise<typeof containerdRoutes>;

/**
 * Serves what cAdvisor asks containerd for where the configuration says so (`compat.containerd_socket`). A socket that
 * cannot be had is an error in the log and no more: pods do not depend on dashboards.
 */
export async function serveContainerdSocket(
  { compat, limits }: Pick<Config, "compat" | "limits">,
  domain: Pick<Domain, "config" | "deps" | "images">,
  {
    interceptors,
    log,
    loadContainerdApi,
  }: Pick<ListenOptions, "interceptors"> & {
    readonly log: Log;
    readonly loadContainerdApi: LoadContainerdApi;
  },
): Promise<AsyncDisposable | undefined> {
  const socket = compat.containerdSocket;
  if (socket === "") return undefined;
  const routes = await loadContainerdApi();
  try {
    const server = await listen({
      ...{ socket, interceptors, log },
      routes: routes(bindContainerdApi(domain)),
      streamsPerConnection: limits.streamsPerConnection,
      shutdownMs: 1000,
    });
    log.info("serving containerd calls", { socket });
    return server;
  } catch (err) {
    log.error("containerd socket failed", { socket, err: describe(err) });
    return undefined;
  }
}
