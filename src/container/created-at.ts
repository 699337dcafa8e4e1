/**
 * When something is created that stands beside others: now, and after all of them also where the clock was set back,
 * because a kubelet takes the newest container of a name for the current one, and the newest sandbox of a pod.
 */
export function createdAfter(
  others: Iterable<{ readonly createdAtNs: bigint }>,
  nowNs: bigint,
): bigint {
  let atNs = nowNs;
  for (const { createdAtNs } of others) if (createdAtNs >= atNs) atNs = createdAtNs + 1n;
  return atNs;
}
