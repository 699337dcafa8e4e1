import type { Kubelet } from "./kubelet.ts";

/** What a kubelet shows of its pods: names and labels of its series, and the fields of its summary. */
export interface Figures {
  /** `name{label="value", ...}`, sorted; ids of this one run are replaced. */
  readonly cadvisor: readonly string[];
  readonly resource: readonly string[];
  /** `pods[web-node].containers[httpd].cpu.time`, sorted. */
  readonly summary: readonly string[];
}

/** Below `cgroupRoot`; what is of the machine as a whole is left out. */
export async function figuresOf(kubelet: Kubelet, cgroupRoot: string): Promise<Figures> {
  const series = async (path: string) => {
    const found = seriesOf(await kubelet.get(path), cgroupRoot);
    return found.filter((one) => /\bpod="[^"]/.test(one)).sort();
  };
  const summary = JSON.parse(await kubelet.get("/stats/summary")) as object;
  return {
    cadvisor: await series("/metrics/cadvisor"),
    resource: await series("/metrics/resource"),
    summary: fieldsOf("", summary).sort(),
  };
}

function seriesOf(text: string, cgroupRoot: string): readonly string[] {
  const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return lines.map((line) =>
    line
      .replace(/ [^ ]+( \d+)?$/, "")
      .replaceAll(cgroupRoot, "/ROOT")
      .replaceAll(/\b[0-9a-f]{64}\b/g, "ID")
      .replaceAll(/\bpod[0-9a-f]{32}\b/g, "podUID"),
  );
}

/** Of lists: by the names of what is in them. */
function fieldsOf(path: string, value: unknown): string[] {
  if (Array.isArray(value)) {
    return value.flatMap((item: unknown, i) => fieldsOf(`${path}[${nameOf(item) ?? i}]`, item));
  }
  if (typeof value !== "object" || value === null) return [path];
  return Object.entries(value).flatMap(([key, field]) =>
    fieldsOf(path === "" ? key : `${path}.${key}`, field),
  );
}

function nameOf(item: unknown): string | undefined {
  const { name, podRef } = item as { name?: string; podRef?: { name: string } };
  return name ?? podRef?.name;
}
