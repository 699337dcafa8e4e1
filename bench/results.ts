import { notes } from "./notes.ts";
import type { Figure } from "./work.ts";

/** What was measured of one runtime in one network. Memory is proportional set size (PSS). */
export interface Result {
  readonly runtime: string;
  readonly network: "conflist" | "host" | "embedded";
  /** The very first pod of the daemon, and the median of the first five. */
  readonly firstMs: number;
  readonly firstFiveMs: number;
  readonly startMs: number;
  readonly startP99Ms: number;
  readonly removalMs: number;
  readonly removalP99Ms: number;
  readonly perSecond?: number;
  /** Of a pod from nothing to nothing. */
  readonly cpuSeconds?: number;
  readonly idleBytes?: number;
  readonly fullBytes?: number;
}

export interface StepTime {
  readonly name: string;
  /** Of a pod, from nothing to nothing. */
  readonly ms: number;
  readonly times: number;
}

export interface Measured {
  readonly date: string;
  readonly machine: {
    readonly cpus: string;
    readonly memoryBytes: number;
    readonly kernel: string;
    readonly cgroups: string;
    /** Load averages of a minute, before and after. */
    readonly load: readonly number[];
  };
  readonly versions: Readonly<Record<string, string>>;
  readonly rounds: number;
  readonly density: number;
  readonly results: readonly Result[];
  readonly figures: readonly Figure[];
  readonly steps: readonly StepTime[];
}

/** Sums and counts of `crib_step_duration_seconds`, by step. */
export function readSteps(
  metrics: string,
): ReadonlyMap<string, { readonly seconds: number; readonly count: number }> {
  const read = (kind: string) =>
    new Map(
      [
        ...metrics.matchAll(
          new RegExp(`^crib_step_duration_seconds_${kind}\\{step="([^"]+)"\\} (\\S+)`, "gm"),
        ),
      ].map(([, name = "", value]) => [name, Number(value)]),
    );
  const counts = read("count");
  return new Map(
    [...read("sum")].map(([name, seconds]) => [name, { seconds, count: counts.get(name) ?? 0 }]),
  );
}

interface Row {
  readonly name: string;
  readonly aim: string;
  readonly crib: number | undefined;
  /** By name of the runtime. */
  readonly peers: ReadonlyMap<string, number>;
  readonly isMet: (crib: number, best: number) => boolean;
  readonly isMoreBetter?: boolean;
  readonly format: (value: number) => string;
}

const ms = (value: number) => `${value.toFixed(1)} ms`;
const megabytes = (value: number) => `${(value / 1e6).toFixed(0)} MB`;

function rowOf({ name, unit, aim, isMoreBetter = false, values }: Figure): Row {
  const { crib, ...peers } = values;
  const digits = unit === "MB/s" || unit === "MB" ? 0 : unit === "ms" || unit === "s" ? 2 : 1;
  return {
    ...{ name, crib, isMoreBetter, aim: aim.toFixed(2).replace(/\.?0+$/, "") },
    peers: new Map(Object.entries(peers)),
    isMet: (own, best) => (isMoreBetter ? own / best >= aim : own / best <= aim),
    format: (value) =>
      `${value.toFixed(digits)}${unit === "per second" ? " a second" : ` ${unit}`}`,
  };
}

function rowsOf({ results, density }: Measured): readonly Row[] {
  const row = (
    name: string,
    network: Result["network"],
    pick: (result: Result) => number | undefined,
    most: number,
    format: Row["format"],
  ): Row => {
    const own = results.find((one) => one.runtime === "crib" && one.network === network);
    const peers = results
      .filter((one) => one.runtime !== "crib" && one.network === network)
      .flatMap((one) => {
        const value = pick(one);
        return value === undefined ? [] : [[one.runtime, value] as const];
      });
    const isMoreBetter = most > 1;
    return {
      name,
      aim: `${most}`,
      crib: own && pick(own),
      peers: new Map(peers),
      isMet: (crib, best) => (isMoreBetter ? crib / best >= most : crib / best <= most),
      isMoreBetter,
      format,
    };
  };
  const fixed = (base: Row, aim: string, isMet: (crib: number) => boolean): Row => ({
    ...base,
    aim,
    isMet,
  });
  return [
    row("pod start, conflist", "conflist", (one) => one.startMs, 0.35, ms),
    row("pod start, host network", "host", (one) => one.startMs, 0.35, ms),
    fixed(
      row("pod start, embedded network", "embedded", (one) => one.startMs, 1, ms),
      "30 ms",
      (crib) => crib <= 30,
    ),
    row("first pod of a daemon, conflist", "conflist", (one) => one.firstMs, 0.35, ms),
    row("median of its first five, conflist", "conflist", (one) => one.firstFiveMs, 0.35, ms),
    row("teardown, conflist", "conflist", (one) => one.removalMs, 0.3, ms),
    row("teardown, host network", "host", (one) => one.removalMs, 0.3, ms),
    row(
      `pods per second to ${density}, two at a time`,
      "conflist",
      (one) => one.perSecond,
      2.5,
      (value) => value.toFixed(1),
    ),
    row(
      "CPU time of a pod, from nothing to nothing",
      "conflist",
      (one) => one.cpuSeconds,
      0.4,
      (value) => ms(value * 1000),
    ),
    row(`memory at ${density} pods`, "conflist", (one) => one.fullBytes, 0.6, megabytes),
    fixed(
      row("memory without a pod", "conflist", (one) => one.idleBytes, 1, megabytes),
      "35 MB",
      (crib) => crib <= 35e6,
    ),
  ];
}

function cells(
  { crib, peers, format, isMoreBetter = false, isMet, aim, name }: Row,
  names: readonly string[],
) {
  const all = [...peers.values()];
  const best = isMoreBetter ? Math.max(...all) : Math.min(...all);
  const isKnown = crib !== undefined;
  const met = isKnown && isMet(crib, best);
  return {
    name,
    met,
    cells: [
      name,
      isKnown ? format(crib) : "",
      ...names.map((peer) => {
        const value = peers.get(peer);
        return value === undefined ? "" : format(value);
      }),
      isKnown && all.length > 0 ? `${(crib / best).toFixed(2)}` : "",
      aim,
      met ? "met" : "**missed**",
    ],
  };
}

/** bench/RESULTS.md. */
export function resultsPage(measured: Measured): string {
  const { date, machine, versions, rounds, density, results, steps } = measured;
  const peers = [...new Set(results.map(({ runtime }) => runtime))].filter((it) => it !== "crib");
  const rows = rowsOf(measured).map((row) => cells(row, peers));
  const figures = measured.figures.map((figure) => cells(rowOf(figure), peers));
  const table = (head: readonly string[], body: readonly (readonly string[])[]) =>
    [head, head.map((_, i) => (i === 0 ? "---" : "--:")), ...body]
      .map((line) => `| ${line.join(" | ")} |`)
      .join("\n");
  const missed = [...rows, ...figures].filter(({ met }) => !met);
  const gigabytes = Math.round(machine.memoryBytes / 2 ** 30);
  return `# crib beside its peers

Made by \`bun bench/run.ts compare --write\` on ${date}; the figures are in \`results.json\`. ${machine.cpus}, ${gigabytes} GiB, Linux
${machine.kernel}, cgroups of ${machine.cgroups}; load average ${machine.load.map((it) => it.toFixed(1)).join(" before and ")} after (a machine with
nothing else to do has 0 and 2 to 4). Versions: ${Object.entries(versions)
    .map(([name, version]) => `${name} ${version}`)
    .join(", ")} (all but crib's are Debian sid's).

All runtimes have the same conflist (bridge with ipMasq, host-local, portmap), image and requests (one container with
RuntimeDefault and a memory limit), one client, and one network namespace; state is on tmpfs and images on the disk for
all. They take turns pod by pod, ${rounds} each after five that are counted by themselves. That the pod's address is
reachable and a command in the container works is checked. Times are medians at the client; a start is RunPodSandbox,
CreateContainer and StartContainer, a teardown StopContainer, RemoveContainer, StopPodSandbox and RemovePodSandbox.
crib does what the plugins do in process, as it does where a node has none installed. CPU time and memory (PSS) are those
of daemon, monitors or shims, pause processes and all that they start; "without a pod" is after those that were timed.

${table(
  ["", "crib", ...peers, "of the best peer", "aim", ""],
  rows.map((row) => row.cells),
)}

## Logs, commands, calls and starts

With the conflist. Logs: a container copies 2,000,000 lines to its stdout, and what is in its log is compared with them; CPU
time is that of daemon, monitors and shims. Calls were made 200 times while all pods were there. Commands are \`crib\` and
\`crictl\`, each asking its own runtime. A start is one of a daemon that has started on this node before.

${table(
  ["", "crib", ...peers, "of the best peer", "aim", ""],
  figures.map((row) => row.cells),
)}

## Spread

${table(
  ["", "network", "start, median", "p99", "first", "teardown, median", "p99"],
  results.map((one) => [
    one.runtime,
    one.network,
    ...[one.startMs, one.startP99Ms, one.firstMs, one.removalMs, one.removalP99Ms].map(ms),
  ]),
)}

## Where crib's time goes

With the conflist, a pod from nothing to nothing, by the steps that metrics and traces have; steps in a step are counted
in both, and what is done after a call has returned is here too.

${table(
  ["step", "ms a pod", "times"],
  steps.map(({ name, ms: time, times }) => [`\`${name}\``, time.toFixed(2), times.toFixed(1)]),
)}
${
  missed.length === 0
    ? ""
    : `
## Aims that are missed
${paragraphsOf(
  missed.map(({ name }) => name),
  density,
)}`
}`;
}

/** A paragraph for each note, with the rows that it is about. */
function paragraphsOf(missed: readonly string[], density: number): string {
  const byNote = Map.groupBy(missed, (name) => noteOf(name, density));
  return [...byNote].map(([note, names]) => `\n**${names.join("; ")}.** ${note}\n`).join("");
}

function noteOf(name: string, density: number): string {
  return notes[name.replace(String(density), "N")] ?? "Nobody has looked into it yet.";
}
