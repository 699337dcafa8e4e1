/** The embedded network, as CNI plugins know it. */
export const networkName = "crib";

/** host-local's files: one for each address, called like it, beside a lock and the last address of each range. */
export function isAddressFile(name: string): boolean {
  return /^[0-9a-f]+[.:]/i.test(name);
}
