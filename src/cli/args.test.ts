import { describe, expect, test } from "bun:test";
import { type OptionSpecs, parseArgs } from "./args.ts";

const specs = {
  all: { kind: "flag", short: "a", help: "" },
  quiet: { kind: "flag", short: "q", help: "" },
  name: { kind: "value", short: "n", help: "" },
  env: { kind: "list", short: "e", help: "" },
} as const satisfies OptionSpecs;

const any = { min: 0, max: 9 };
const parse = (...argv: readonly string[]) => parseArgs(argv, specs, any);

describe("parseArgs()", () => {
  test("takes every way to write an option", () => {
    const expected = { all: true, quiet: true, name: "x=y", env: ["A=1", "-B"] };
    expect(parse("-aq", "-nx=y", "-e", "A=1", "--env=-B").options).toEqual(expected);
    expect(parse("--all", "--quiet", "--name", "x=y", "-eA=1", "-e", "-B").options).toEqual(
      expected,
    );
  });

  test("keeps absent options apart from empty ones", () => {
    expect(parse().options).toEqual({ all: false, quiet: false, name: undefined, env: [] });
    expect(parse("--name=").options.name).toBe("");
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
  });

  test.each([
    [["--frob"], "unknown option --frob"],
    [["--constructor"], "unknown option --constructor"],
    [["-x"], "unknown option -x"],
    [["--name"], "option --name needs a value"],
    [["-n"], "option -n needs a value"],
    [["--all=yes"], "option --all takes no value"],
    [["-n1", "--name=2"], "option --name is given twice"],
    [Array(10).fill("x"), 'unexpected argument "x"'],
  ])("refuses %j", (argv, message) => {
    expect(() => parse(...argv)).toThrow(message);
  });
});
