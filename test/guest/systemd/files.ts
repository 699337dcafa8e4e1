import { podFiles } from "../pod-files.ts";

/**
 * The pods and containers of the other guests, as crictl takes them, for /usr/local/share/guest; the cgroup of each pod
 * is a slice, written as a kubelet does with the systemd driver: by its path.
 */
export function systemdFiles(): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(podFiles()).map(([name, text]) => [
      name,
      text.replace(
        /"\/kubepods\/(besteffort|burstable)\/pod-(\w+)"/,
        '"/kubepods.slice/kubepods-$1.slice/kubepods-$1-pod_$2.slice"',
      ),
    ]),
  );
}
