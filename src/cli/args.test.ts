import { describe, expect, test } from "bun:test";
import { parseArgs } from "./args.ts";
import type { OptionSpecs } from "./table/spec.ts";

const specs = {
  all: { kind: "flag", short: "a", help: "" },
  quiet: { kind: "flag", short: "q", help: "" },
  name: { kind: "value", short: "n", help: "" },
  env: { kind: "list", short: "e", help: "" },
  pull: { kind: "value", help: "", choices: ["missing", "always"] },
} as const satisfies OptionSpecs;

const any = { min: 0, max: 9 };
const parse = (...argv: readonly string[]) => parseArgs(argv, specs, any);

describe("parseArgs()", () => {
  test("takes every way to write an option", () => {
    const expected = { all: true, quiet: true, name: "x=y", env: ["A=1", "-B"], pull: undefined };
    expect(parse("-aq", "-nx=y", "-e", "A=1", "--env=-B").options).toEqual(expected);
    expect(parse("--all", "--quiet", "--name", "x=y", "-eA=1", "-e", "-B").options).toEqual(
      expected,
    );
  });

  test("keeps absent options apart from empty ones", () => {
    expect(parse().options).toEqual({
      all: false,
      quiet: false,
      name: undefined,
      env: [],
      pull: undefined,
    });
    expect(parse("--name=").options.name).toBe("");
  });

  test("takes groups, inline values of short options and flags with a value as docker does", () => {
    expect(parse("-aqn", "v").options).toMatchObject({ all: true, quiet: true, name: "v" });
    expect(parse("-aqnv", "x").positionals).toEqual(["x"]);
    expect(parse("-n=v").options.name).toBe("v");
    expect(parse("-n==v").options.name).toBe("=v");
    expect(parse("--name==v").options.name).toBe("=v");
    expect(parse("-a", "--all=false").options.all).toBe(false);
    expect(parse("--all=TRUE", "--quiet=1").options).toMatchObject({ all: true, quiet: true });
    expect(parse("--name", "--all").options).toMatchObject({ all: false, name: "--all" });
    expect(parse("-n1", "--name=2").options.name).toBe("2");
    expect(parse("-e", "", "-e", "A=b=c", "--env", "--").options.env).toEqual(["", "A=b=c", "--"]);
    expect(parse("-").positionals).toEqual(["-"]);
  });

  test("mixes options and positionals, until --", () => {
    const { options, positionals } = parse("one", "-a", "--", "-q", "--name");
    expect([options.all, options.quiet]).toEqual([true, false]);
    expect(positionals).toEqual(["one", "-q", "--name"]);
  });

  test("leaves a command's own options to the command", () => {
    const afterFirst = { min: 1, max: 9, commandAfter: 1 };
    const parsed = parseArgs(["-a", "web", "ls", "-q", "--", "x"], specs, afterFirst);
    expect(parsed.positionals).toEqual(["web", "ls", "-q", "--", "x"]);
    expect(parsed.options.quiet).toBe(false);
    const dashed = parseArgs(["web", "--", "ls", "-q"], specs, afterFirst);
    expect(dashed.positionals).toEqual(["web", "ls", "-q"]);
    const early = parseArgs(["-n", "web", "--", "x", "--", "-q"], specs, afterFirst);
    expect([early.options.name, early.positionals]).toEqual(["web", ["x", "--", "-q"]]);
    // What the command's own options look like is nobody's business.
    expect(parseArgs(["x", "--nmae", "-e"], specs, afterFirst).positionals).toEqual([
      "x",
      "--nmae",
      "-e",
    ]);
  });

  test.each([
    [["--frob"], "unknown option --frob"],
    [["--constructor"], "unknown option --constructor"],
    [["-x"], "unknown option -x"],
    [["--name"], "option --name needs a value"],
    [["-n"], "option -n needs a value"],
    [["--all=yes"], 'option --all takes no value but true or false, not "yes"'],
    [["--__proto__"], "unknown option --__proto__"],
    [["--nmae"], "unknown option --nmae; did you mean --name?"],
    [["--qui"], "did you mean --quiet?"],
    [["-aqx"], "unknown option -x"],
    [["-a=x"], "unknown option -="],
    [["--pull", "alway"], "--pull alway: not missing or always; did you mean always?"],
    [["--pull="], "--pull : not missing or always"],
    [Array(10).fill("x"), 'unexpected argument "x"'],
  ])("refuses %j", (argv, message) => {
    expect(() => parse(...argv)).toThrow(message);
  });
});
