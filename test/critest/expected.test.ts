import { describe, expect, test } from "bun:test";
import { judge, parseJunit, registeredSpecs, type SpecResult } from "./expected.ts";

function spec(name: string, status: SpecResult["status"] = "passed", message = ""): SpecResult {
  return { name: `[k8s.io] ${name}`, status, message };
}

const release = "1.36.0";

/** A full report in which everything passed, with these in the place of as many others. */
function reportWith(...specs: readonly SpecResult[]): readonly SpecResult[] {
  const others = Array.from({ length: registeredSpecs[release] - specs.length }, (_, index) =>
    spec(`PodSandbox number ${index}`),
  );
  return [{ name: "[BeforeSuite]", status: "passed", message: "" }, ...others, ...specs];
}

const noAppArmor = { release, hasAppArmor: false } as const;

describe("judge()", () => {
  test("accepts a report in which all passed", () => {
    expect(judge(reportWith(), noAppArmor)).toMatchObject({ isAcceptable: true, wrong: [] });
  });

  test("refuses a failed spec and names it", () => {
    const failed = spec("PodSandbox should run", "failed", "boom");
    const verdict = judge(reportWith(failed), noAppArmor);
    expect(verdict.isAcceptable).toBe(false);
    expect(verdict.wrong).toEqual([failed]);
  });

  test("lets no kind of spec wait", () => {
    const names = [
      "Streaming runtime should support streaming interfaces runtime should support attach",
      "Container runtime should support basic operations on container runtime should support listing container stats [Conformance]",
      "Container runtime should support basic operations on container runtime should support execSync",
      "Container runtime should support log runtime should support starting container with log",
      "Multiple Containers when running multiple containers in a pod should support container exec",
      "Networking runtime should support networking runtime should support port mapping with only container port",
      "Security Context NamespaceOption runtime should support HostPID",
    ];
    for (const name of names) {
      expect(judge(reportWith(spec(name, "failed")), noAppArmor).isAcceptable).toBe(false);
    }
  });

  test("refuses a spec that skipped itself because a feature was not reported", () => {
    const skipped = spec("Container Mount Readonly", "skipped", "runtime does not implement it");
    expect(judge(reportWith(skipped), noAppArmor).wrong).toEqual([skipped]);
    expect(judge(reportWith(skipped), { ...noAppArmor, isPartial: true }).wrong).toEqual([skipped]);
  });

  test("lets AppArmor specs skip only where the kernel has none", () => {
    const report = reportWith(spec("AppArmor should enforce", "skipped", "disabled on this host"));
    expect(judge(report, noAppArmor).isAcceptable).toBe(true);
    expect(judge(report, { release, hasAppArmor: true }).isAcceptable).toBe(false);
    const failed = reportWith(spec("AppArmor should enforce", "failed"));
    expect(judge(failed, noAppArmor).isAcceptable).toBe(false);
  });

  test("leaves out the pinned digest, and what a filter took away from a partial run", () => {
    const digest = spec(
      "Image Manager public image with digest should be pulled and removed",
      "skipped",
    );
    expect(judge(reportWith(digest), noAppArmor).leftOut).toEqual([digest]);
    const filtered = spec("PodSandbox should run", "skipped");
    expect(judge(reportWith(filtered), noAppArmor).isAcceptable).toBe(false);
    expect(judge(reportWith(filtered), { ...noAppArmor, isPartial: true }).isAcceptable).toBe(true);
  });

  test("refuses a report that was cut off, or in which nothing ran", () => {
    expect(judge(reportWith().slice(0, -1), noAppArmor).incomplete).toContain("116 specs");
    expect(judge([], noAppArmor).isAcceptable).toBe(false);
    const none = reportWith().map((result): SpecResult => ({ ...result, status: "skipped" }));
    expect(judge(none, { ...noAppArmor, isPartial: true }).incomplete).toBe("no spec has run");
  });

  test("refuses a failed suite node and does not count benchmarks", () => {
    const broken: SpecResult = { name: "[BeforeSuite]", status: "failed", message: "" };
    expect(judge([...reportWith(), broken], noAppArmor).wrong).toEqual([broken]);
    const benchmark = spec("Image benchmark about operations on Image", "skipped");
    expect(judge([...reportWith(), benchmark], noAppArmor).isAcceptable).toBe(true);
  });
});

describe("parseJunit()", () => {
  test("reads names, states and reasons", () => {
    const xml = `<testsuites><testsuite name="CRI validation">
      <testcase name="[BeforeSuite]" classname="CRI validation" status="passed" time="0.1"/>
      <testcase name="[It] [k8s.io] A &#34;quoted&#34; &lt;spec&gt; &amp;amp;" status="passed" time="1">
        <system-err>failure message=&#34;no&#34;</system-err>
      </testcase>
      <testcase name="[It] [k8s.io] B" status="skipped" time="0"><skipped message="skipped"></skipped></testcase>
      <testcase name="[It] [k8s.io] C" status="skipped"><skipped message="skipped - no AppArmor"></skipped></testcase>
      <testcase name="[It] [k8s.io] D" status="failed"><failure message="Expected&#xA;true" type="failed">x</failure></testcase>
      <testcase name="[It] [k8s.io] E" status="panicked"><error message="nil" type="panicked">x</error></testcase>
    </testsuite></testsuites>`;
    expect(parseJunit(xml)).toEqual([
      { name: "[BeforeSuite]", status: "passed", message: "" },
      { name: '[k8s.io] A "quoted" <spec> &amp;', status: "passed", message: "" },
      { name: "[k8s.io] B", status: "skipped", message: "" },
      { name: "[k8s.io] C", status: "skipped", message: "no AppArmor" },
      { name: "[k8s.io] D", status: "failed", message: "Expected\ntrue" },
      { name: "[k8s.io] E", status: "failed", message: "nil" },
    ]);
  });
});
