import * as pb from "../../gen/runtime/v1/api_pb.ts";

/** One value, with those labels that tell it from other values of the same metric. */
export interface Sample {
  readonly value: bigint | number;
  readonly labels: readonly string[];
}

/**
 * A metric and where its values come from, in one place: what is advertised is also emitted. Names, units and label
 * keys are those that dashboards know from cAdvisor.
 */
export interface Metric<Source> {
  readonly name: `container_${string}`;
  readonly help: string;
  readonly type: pb.MetricType;
  /** Beyond those that every metric has. */
  readonly labelKeys: readonly string[];
  /** Nothing where the node does not account it or no limit is set. */
  readonly read: (source: Source) => readonly Sample[];
}

type Single<Source> = (source: Source) => bigint | number | undefined;
type Several<Source> = (source: Source) => readonly Sample[];
type Name = Metric<never>["name"];

const { COUNTER, GAUGE } = pb.MetricType;

/** Only grows while the container lives. */
export function counter<S>(name: Name, help: string, read: Single<S>): Metric<S> {
  return { name, help, type: COUNTER, labelKeys: [], read: (source) => single(read(source)) };
}

export function gauge<S>(name: Name, help: string, read: Single<S>): Metric<S> {
  return { name, help, type: GAUGE, labelKeys: [], read: (source) => single(read(source)) };
}

/** A counter with several values, distinguished by these labels. */
export function counters<S>(
  name: Name,
  help: string,
  labelKeys: readonly string[],
  read: Several<S>,
): Metric<S> {
  return { name, help, type: COUNTER, labelKeys, read };
}

export function gauges<S>(
  name: Name,
  help: string,
  labelKeys: readonly string[],
  read: Several<S>,
): Metric<S> {
  return { name, help, type: GAUGE, labelKeys, read };
}

/** Seconds are fractions: the message has them whole, and as they are for clients that know the newer field (CRI Metric). */
export function messageOf(name: string, value: bigint | number) {
  const whole = { value: { value: BigInt(typeof value === "number" ? Math.trunc(value) : value) } };
  const isFraction = /_seconds(_total)?$/.test(name);
  return isFraction ? { ...whole, doubleValue: { value: Number(value) } } : whole;
}

/** The nearest number of seconds. */
export function seconds(ns: bigint): number {
  return Number(ns / 1_000_000_000n) + Number(ns % 1_000_000_000n) / 1e9;
}

function single(value: bigint | number | undefined): readonly Sample[] {
  return value === undefined ? [] : [{ value, labels: [] }];
}
