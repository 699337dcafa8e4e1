import { parseArgs as parseTokens } from "node:util";
import { UsageError } from "./failure.ts";
import { suggestion } from "./suggest.ts";
import type { OptionSpec, OptionSpecs, PositionalSpec } from "./table/spec.ts";

export type OptionValues<S extends OptionSpecs> = {
  readonly [Name in keyof S]: S[Name]["kind"] extends "flag"
    ? boolean
    : S[Name]["kind"] extends "list"
      ? readonly string[]
      : string | undefined;
};

export interface ParsedArgs<S extends OptionSpecs> {
  readonly options: OptionValues<S>;
  readonly positionals: readonly string[];
}

/**
 * As docker's: `--name value`, `--name=value`, `-n value`, `-nvalue`, `-n=value`, `-abc` for flags, `--flag=false`, `--`
 * ends options; of a value that is given twice the last one counts. Options may stand after positionals, except after
 * those that begin the user's own command line. Whatever is not known or does not fit is a `UsageError`.
 */
export function parseArgs<S extends OptionSpecs>(
  argv: readonly string[],
  specs: S,
  positional: PositionalSpec,
  absent: Readonly<Record<string, string>> = {},
): ParsedArgs<S> {
  const options = emptyValues(specs);
  const positionals: string[] = [];
  let isTerminated = false;
  for (const token of tokensOf(argv, specs)) {
    if (token.kind === "option-terminator") isTerminated = true;
    else if (token.kind === "option") takeOption(token, specs, options, absent);
    else {
      positionals.push(token.value);
      if (positionals.length === positional.commandAfter && !isTerminated) {
        const rest = argv.slice(token.index + 1);
        positionals.push(...(rest[0] === "--" ? rest.slice(1) : rest));
        break;
      }
    }
  }
  // Asking for help is never a usage error.
  if (options["help"] !== true) checkCount(positionals, positional);
  return { options: options as OptionValues<S>, positionals };
}

type Values = Record<string, boolean | string | string[] | undefined>;

function emptyValues(specs: OptionSpecs): Values {
  const empty = { flag: false, value: undefined, list: [] };
  return Object.fromEntries(
    Object.entries(specs).map(([name, { kind }]) => [name, kind === "list" ? [] : empty[kind]]),
  );
}

interface OptionToken {
  readonly name: string;
  readonly rawName: string;
  readonly value?: string | undefined;
  readonly inlineValue?: boolean | undefined;
}

/** Not strict: what is unknown, or lacks its value, is refused here, in words of our own. */
function tokensOf(argv: readonly string[], specs: OptionSpecs) {
  const options = Object.fromEntries(
    Object.entries(specs).map(([name, { kind, short }]) => {
      const type = kind === "flag" ? ("boolean" as const) : ("string" as const);
      return [name, { type, multiple: true, ...(short === undefined ? {} : { short }) }];
    }),
  );
  const given = { args: [...argv], options, strict: false, allowPositionals: true } as const;
  return parseTokens({ ...given, tokens: true }).tokens;
}

function takeOption(
  token: OptionToken,
  specs: OptionSpecs,
  values: Values,
  absent: Readonly<Record<string, string>>,
): void {
  const { name, rawName } = token;
  const spec = Object.hasOwn(specs, name) ? specs[name] : undefined;
  const isLong = rawName.startsWith("--") && rawName.length > "--".length;
  if (spec === undefined || (!isLong && spec.short !== rawName.slice(1))) {
    const instead = Object.hasOwn(absent, name) ? absent[name] : undefined;
    if (instead !== undefined) {
      throw new UsageError(`option ${rawName} is not there; in its place: ${instead}`);
    }
    const near = isLong ? suggestion(name, Object.keys(specs), "--") : "";
    throw new UsageError(`unknown option ${rawName}${near}`);
  }
  if (spec.kind === "flag") values[name] = flagValue(token);
  else store(name, spec, givenValue(token), values);
}

const truths = ["true", "1", "t"] as const;
const untruths = ["false", "0", "f"] as const;

function flagValue({ rawName, value }: OptionToken): boolean {
  if (value === undefined) return true;
  const text = value.toLowerCase();
  if (truths.some((word) => word === text)) return true;
  if (untruths.some((word) => word === text)) return false;
  throw new UsageError(`option ${rawName} takes no value but true or false, not "${value}"`);
}

function givenValue({ rawName, value, inlineValue }: OptionToken): string {
  if (value === undefined) throw new UsageError(`option ${rawName} needs a value`);
  // `-n=5`, as docker takes it.
  const isShort = !rawName.startsWith("--");
  return isShort && inlineValue === true && value.startsWith("=") ? value.slice(1) : value;
}

function store(name: string, spec: OptionSpec, value: string, values: Values): void {
  const { choices } = spec;
  if (choices !== undefined && !choices.includes(value)) {
    const known = `${choices.slice(0, -1).join(", ")} or ${choices.at(-1)}`;
    throw new UsageError(`--${name} ${value}: not ${known}${suggestion(value, choices)}`);
  }
  const before = values[name];
  if (spec.kind === "list" && Array.isArray(before)) before.push(value);
  else values[name] = value;
}

function checkCount(positionals: readonly string[], { min, max }: PositionalSpec): void {
  if (positionals.length < min) throw new UsageError("an argument is missing");
  if (positionals.length > max) throw new UsageError(`unexpected argument "${positionals[max]}"`);
}
