import { invalidArgument } from "../../lib/errors.ts";

/** Limits of a pod's traffic in bits a second, as the `bandwidth` plugin takes them. */
export interface PodBandwidth {
  readonly ingressRate?: number;
  readonly ingressBurst?: number;
  readonly egressRate?: number;
  readonly egressBurst?: number;
}

/** A Kubernetes quantity: a number with a suffix or an exponent. */
const quantity =
  /^\+?([0-9]+\.?[0-9]*|\.[0-9]+)(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?[0-9]{1,4}))?$/;
const factors: Readonly<Record<string, number>> = {
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
};
const minRate = 1e3;
const maxRate = 1e15;

/** A tenth of a second of the rate, and room for some packets of 64 KiB: more would let much traffic pass unlimited. */
function burstOf(bitsPerSecond: number): number {
  return Math.min(Math.max(Math.round(bitsPerSecond / 10), 4_000_000), 2 ** 31 - 1);
}

/** Reads the pod's annotations; `undefined` when it asks for no limit. */
export function asBandwidth(
  annotations: Readonly<Record<string, string>>,
): PodBandwidth | undefined {
  const ingress = rate(annotations, "kubernetes.io/ingress-bandwidth");
  const egress = rate(annotations, "kubernetes.io/egress-bandwidth");
  if (ingress === undefined && egress === undefined) return undefined;
  return {
    ...(ingress === undefined ? {} : { ingressRate: ingress, ingressBurst: burstOf(ingress) }),
    ...(egress === undefined ? {} : { egressRate: egress, egressBurst: burstOf(egress) }),
  };
}

function rate(annotations: Readonly<Record<string, string>>, key: string): number | undefined {
  const text = annotations[key];
  if (text === undefined) return undefined;
  const [, number = "", suffix = "", exponent = "0"] = quantity.exec(text) ?? [];
  const factor = suffix === "" ? 10 ** Number(exponent) : (factors[suffix] ?? Number.NaN);
  const bits = number === "" ? Number.NaN : Math.ceil(Number(number) * factor);
  if (!(bits >= minRate && bits <= maxRate)) {
    throw invalidArgument(
      `${key}: ${JSON.stringify(text.slice(0, 40))} is not a rate in bits a second from 1k to 1P`,
    );
  }
  return bits;
}
