import { readdirSync, rmSync } from "node:fs";
import type { Context } from "../../lib/context.ts";
import { ifThere, isErrno } from "../../os/errno-error.ts";
import { clearInterfaceFlags, IFF_UP, removeBridge } from "../../os/socket/interface.ts";
import { isAddressFile, networkName } from "./address-files.ts";
import { bridgeName } from "./embedded.ts";
import { findNetfilterTools, forbidPodTraffic } from "./netfilter.ts";

/**
 * Removes the embedded network's bridge and rules from the node, unless a pod has an address in it: other daemons share
 * them. Returns whether they are gone now. Whatever daemon needs them again makes them.
 */
export async function removeEmbeddedNetwork(ctx: Context, addressDir: string): Promise<boolean> {
  if (
    (ifThere(() => readdirSync(`${addressDir}/${networkName}`).filter(isAddressFile)) ?? [])
      .length > 0
  )
    return false;
  await forbidPodTraffic(ctx, findNetfilterTools());
  try {
    clearInterfaceFlags(bridgeName, IFF_UP);
    removeBridge(bridgeName);
  } catch (err) {
    if (!isErrno(err, "ENODEV") && !isErrno(err, "ENXIO")) throw err;
  }
  rmSync(`${addressDir}/${networkName}`, { recursive: true, force: true });
  return true;
}
