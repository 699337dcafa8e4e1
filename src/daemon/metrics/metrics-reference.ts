import { metricDescriptors } from "../../cri/metrics/pod-message.ts";
import { stepDescriptions } from "../../lib/step.ts";
import type { MetricSet } from "./metric-set.ts";

/** `docs/metrics.md`, of the daemon's metrics. */
export async function metricsReference(metrics: MetricSet): Promise<string> {
  const own = await metrics.describe();
  const pods = metricDescriptors({ pressure: true, hugePages: true });
  const typeOf = (name: string) => (name.endsWith("_total") ? "counter" : "gauge");
  return [
    head,
    table(own),
    stepsHead,
    ...Object.entries(stepDescriptions).map(([name, what]) => `| \`${name}\` | ${what} |`),
    podsHead,
    table(pods.map(({ name = "", help = "" }) => ({ name, help, type: typeOf(name) }))),
    tail,
  ].join("\n");
}

function table(
  rows: readonly { readonly name: string; readonly type: string; readonly help: string }[],
): string {
  return [...rows]
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ name, type, help }) => `| \`${name}\` | ${type} | ${help} |`)
    .join("\n");
}

const head = `# Metrics

\`[metrics] address = "127.0.0.1:9753"\` makes the daemon serve \`/metrics\` (OpenMetrics or Prometheus' text format, as the
client accepts), \`/healthz\` (200 while the daemon lives) and \`/readyz\` (503 while it recovers or stops). Nothing is
served unless an address is given. Labels are names of RPCs, steps, codes, hosts and states, never of pods or images, and
few: of hosts there are 100 at most, the others are \`other\`. Names and labels stay the same from version to version.

[grafana-dashboard.json](grafana-dashboard.json) is a dashboard and [alerts.yaml](alerts.yaml) are alerting rules over
these metrics. This page is made from the metrics themselves.

| metric | type | |
|---|---|---|`;

const stepsHead = `
## Steps

What \`step\` is in \`crib_step_duration_seconds\`, the name of a span in traces ([tracing.md](tracing.md)), and what
\`crib debug\` shows of a call in progress.

| step | |
|---|---|`;

const podsHead = `
## Pods and containers

With \`[metrics] pods = true\` also these, under cAdvisor's names and with its labels (\`container\`, \`id\`, \`image\`, \`name\`,
\`namespace\`, \`pod\`, and what distinguishes several values). A kubelet that takes its metrics from the CRI serves the same under
\`/metrics/cadvisor\` ([metrics-of-pods.md](metrics-of-pods.md)), so scrape one of the two.

| metric | type | |
|---|---|---|`;

const tail = `
Pressure (\`container_pressure_*\`) and huge pages are there where the node accounts for them.
`;
