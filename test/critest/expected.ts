/** Which specs of critest crib has to pass, and which report says so. */

export interface SpecResult {
  /** `[k8s.io] Describe Context It`, labels included. */
  readonly name: string;
  readonly status: "passed" | "failed" | "skipped";
  /** Why it failed or was skipped; empty for a spec that a filter left out. */
  readonly message: string;
}

/** An image whose digest critest pins and nobody else can make. */
export const pinnedDigestSpec = /\bpublic image with digest should be pulled and removed\b/u;

const benchmark = /\bbenchmark\b/u;
const appArmor = /^\[k8s\.io\] AppArmor\b/u;

/** How many validation specs each release registers without SELinux. A report with fewer was cut off. */
export const registeredSpecs = { "1.36.0": 117, "1.37.0": 137 } as const;

export type Release = keyof typeof registeredSpecs;

export interface JudgeOptions {
  readonly release: Release;
  /** Whether the kernel has AppArmor: without it those specs skip themselves. */
  readonly hasAppArmor: boolean;
  /** The run was given a focus or a skip of its own: what that left out is no fault. */
  readonly isPartial?: boolean;
}

export interface Verdict {
  readonly isAcceptable: boolean;
  readonly passed: readonly SpecResult[];
  /** Not passed, and crib has to pass them. */
  readonly wrong: readonly SpecResult[];
  /** They cannot run here, or were not asked for. */
  readonly leftOut: readonly SpecResult[];
  /** Why no list of specs can be trusted, if so. */
  readonly incomplete: string | undefined;
}

export function judge(results: readonly SpecResult[], options: JudgeOptions): Verdict {
  const specs = results.filter((result) => !benchmark.test(result.name));
  const passed = specs.filter((spec) => spec.status === "passed");
  const others = specs.filter((spec) => spec.status !== "passed");
  const leftOut = others.filter((spec) => mayBeLeftOut(spec, options));
  const wrong = others.filter((spec) => !leftOut.includes(spec));
  const registered = specs.filter((spec) => spec.name.startsWith("[k8s.io]")).length;
  const expected = registeredSpecs[options.release];
  const incomplete =
    registered < expected
      ? `the report has ${registered} specs, not ${expected}`
      : passed.length === 0
        ? "no spec has run"
        : undefined;
  return {
    isAcceptable: incomplete === undefined && wrong.length === 0,
    ...{ passed, wrong, leftOut, incomplete },
  };
}

function mayBeLeftOut(spec: SpecResult, options: JudgeOptions): boolean {
  if (spec.status !== "skipped") return false;
  if (pinnedDigestSpec.test(spec.name)) return true;
  if (appArmor.test(spec.name) && !options.hasAppArmor) return true;
  return options.isPartial === true && spec.message === "";
}

/** Reads Ginkgo's JUnit report; suite-level nodes such as `[BeforeSuite]` are results too. */
export function parseJunit(xml: string): readonly SpecResult[] {
  const results: SpecResult[] = [];
  for (const [, attributes = "", body = ""] of xml.matchAll(
    /<testcase\s([^>]*?)(?:\/>|>(.*?)<\/testcase>)/gsu,
  )) {
    const status = attribute(attributes, "status");
    const detail = /<(?:failure|error|skipped)\s([^>]*)/u.exec(body)?.[1] ?? "";
    results.push({
      name: attribute(attributes, "name").replace(/^\[It\] /u, ""),
      // Ginkgo has more words for failing: panicked, timedout, interrupted, aborted.
      status:
        status === "passed" || status === "skipped"
          ? status
          : status === "pending"
            ? "skipped"
            : "failed",
      message: attribute(detail, "message").replace(/^skipped(?: - )?/u, ""),
    });
  }
  return results;
}

function attribute(text: string, name: string): string {
  const raw = new RegExp(`(?:^|\\s)${name}="([^"]*)"`, "u").exec(text)?.[1] ?? "";
  return raw
    .replaceAll(/&#(?:x([0-9A-Fa-f]+)|([0-9]+));/gu, (_all, hex: string, decimal: string) =>
      String.fromCodePoint(hex === undefined ? Number(decimal) : Number.parseInt(hex, 16)),
    )
    .replaceAll("&lt;", "<")
    .replaceAll("&gt;", ">")
    .replaceAll("&quot;", '"')
    .replaceAll("&apos;", "'")
    .replaceAll("&amp;", "&");
}
