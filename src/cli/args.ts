import { UsageError } from "./failure.ts";

/** `flag` is there or not, `value` takes an argument, `list` takes one each time it is given. */
export interface OptionSpec {
  readonly kind: "flag" | "value" | "list";
  readonly short?: string;
  /** What the help calls the argument: `NAME`. */
  readonly argument?: string;
  readonly help: string;
}

export type OptionSpecs = Readonly<Record<string, OptionSpec>>;

export type OptionValues<S extends OptionSpecs> = {
  readonly [Name in keyof S]: S[Name]["kind"] extends "flag"
    ? boolean
    : S[Name]["kind"] extends "list"
      ? readonly string[]
      : string | undefined;
};

export interface PositionalSpec {
  readonly min: number;
  readonly max: number;
  /** After this many positionals all the rest is the user's own command line, options included. */
  readonly commandAfter?: number;
}

export interface ParsedArgs<S extends OptionSpecs> {
  readonly options: OptionValues<S>;
  readonly positionals: readonly string[];
}

/**
 * GNU style: `--name value`, `--name=value`, `-n value`, `-nvalue`, `-abc` for flags, `--` ends options.
 * Whatever is not known or does not fit is a `UsageError`.
 */
export function parseArgs<S extends OptionSpecs>(
  argv: readonly string[],
  specs: S,
  positional: PositionalSpec,
): ParsedArgs<S> {
  const options = emptyValues(specs);
  const positionals: string[] = [];
  const rest = [...argv];
  for (let arg = rest.shift(); arg !== undefined; arg = rest.shift()) {
    if (arg === "--") {
      positionals.push(...rest.splice(0));
    } else if (arg.startsWith("--")) {
      takeLong(arg.slice(2), rest, specs, options);
    } else if (arg.startsWith("-") && arg !== "-") {
      takeShort(arg.slice(1), rest, specs, options);
    } else {
      positionals.push(arg);
      if (positionals.length === positional.commandAfter) {
        if (rest[0] === "--") rest.shift();
        positionals.push(...rest.splice(0));
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

function takeLong(text: string, rest: string[], specs: OptionSpecs, values: Values): void {
  const equals = text.indexOf("=");
  const name = equals < 0 ? text : text.slice(0, equals);
  const spec = Object.hasOwn(specs, name) ? specs[name] : undefined;
  if (spec === undefined) throw new UsageError(`unknown option --${name}`);
  if (spec.kind === "flag") {
    if (equals >= 0) throw new UsageError(`option --${name} takes no value`);
    values[name] = true;
    return;
  }
  const value = equals < 0 ? rest.shift() : text.slice(equals + 1);
  if (value === undefined) throw new UsageError(`option --${name} needs a value`);
  store(name, spec, value, values);
}

function takeShort(letters: string, rest: string[], specs: OptionSpecs, values: Values): void {
  for (let i = 0; i < letters.length; i++) {
    const letter = letters[i];
    const found = Object.entries(specs).find(([, { short }]) => short === letter);
    if (found === undefined) throw new UsageError(`unknown option -${letter}`);
    const [name, spec] = found;
    if (spec.kind === "flag") {
      values[name] = true;
      continue;
    }
    const value = letters.slice(i + 1) || rest.shift();
    if (value === undefined) throw new UsageError(`option -${letter} needs a value`);
    store(name, spec, value, values);
    return;
  }
}

function store(name: string, spec: OptionSpec, value: string, values: Values): void {
  const before = values[name];
  if (spec.kind === "list" && Array.isArray(before)) before.push(value);
  else if (before !== undefined) throw new UsageError(`option --${name} is given twice`);
  else values[name] = value;
}

function checkCount(positionals: readonly string[], { min, max }: PositionalSpec): void {
  if (positionals.length < min) throw new UsageError("an argument is missing");
  if (positionals.length > max) throw new UsageError(`unexpected argument "${positionals[max]}"`);
}
