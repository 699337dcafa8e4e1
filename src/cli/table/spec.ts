/** What a shell offers while the value is typed. */
export type Completion = "container" | "pod" | "target" | "image" | "volume" | "file" | "directory";

/** `flag` is there or not, `value` takes an argument, `list` takes one each time it is given. */
export interface OptionSpec {
  readonly kind: "flag" | "value" | "list";
  readonly short?: string;
  /** What the help calls the argument: `NAME`. */
  readonly argument?: string;
  readonly help: string;
  /** The values that there are; others are refused. */
  readonly choices?: readonly string[];
  readonly completes?: Completion;
}

export type OptionSpecs = Readonly<Record<string, OptionSpec>>;

export interface PositionalSpec {
  readonly min: number;
  readonly max: number;
  /** After this many positionals all the rest is the user's own command line, options included. */
  readonly commandAfter?: number;
  readonly completes?: Completion;
}

export type CommandGroup = "images" | "containers and pods" | "node";

/** All that is known of a command without loading it: the parser, help, completions and pages are made from this. */
export interface CommandSpec {
  readonly group: CommandGroup;
  readonly summary: string;
  /** The positionals as help shows them: `IMAGE [COMMAND...]`; ` | ` between forms that exclude each other. */
  readonly usage: string;
  /** One paragraph. */
  readonly details?: string;
  readonly examples: readonly string[];
  readonly options: OptionSpecs;
  /** Options of docker's that are not there, and what is in their place; of letters too. */
  readonly absent?: Readonly<Record<string, string>>;
  readonly positionals: PositionalSpec;
  /** The words that the first positional may be. */
  readonly verbs?: readonly string[];
  /** Its exit code is that of a command in a container: crib's own failures are 125 to 127, as docker's. */
  readonly runsProgram?: boolean;
}

/** Keeps the options' own types. */
export function defineSpec<const S extends CommandSpec>(spec: S): S {
  return spec;
}

/** What every command takes. */
export const commonOptions = {
  socket: {
    kind: "value",
    argument: "ADDRESS",
    help: "CRI socket (CRIB_SOCKET, unix:///run/crib/crib.sock)",
    completes: "file",
  },
  help: { kind: "flag", short: "h", help: "show this help" },
} as const satisfies OptionSpecs;

type CommonOptions = {
  readonly [Name in keyof typeof commonOptions]: OptionSpec &
    Pick<(typeof commonOptions)[Name], "kind">;
};

/** With the common ones. A letter of a command's own is not theirs: `crib run -h NAME`, as docker's. */
export function withCommonOptions<S extends OptionSpecs>(options: S): S & CommonOptions {
  const taken = Object.values(options).some(({ short }) => short === commonOptions.help.short);
  const { short: _, ...longHelp } = commonOptions.help;
  return { ...options, ...commonOptions, ...(taken ? { help: longHelp } : {}) };
}

/** Options that docker's users type and that no command has, or not this one, and what is in their place. */
export function absentOptions({ options, absent }: CommandSpec): Readonly<Record<string, string>> {
  return {
    ...("output" in options ? { format: "--output json, which jq reads" } : {}),
    ...("no-trunc" in options ? { filter: "grep, or --output json, which jq reads" } : {}),
    ...absent,
  };
}

/** What commands that print data take. */
export const outputOptions = {
  output: {
    kind: "value",
    short: "o",
    argument: "FORMAT",
    help: "table or json",
    choices: ["table", "json"],
  },
} as const satisfies OptionSpecs;

/** What commands that list things take. */
export const listOptions = {
  ...outputOptions,
  quiet: { kind: "flag", short: "q", help: "ids only, one a line" },
  "no-trunc": { kind: "flag", help: "whole ids" },
} as const satisfies OptionSpecs;

/** What the lists of containers and pods take. */
export const objectListOptions = {
  label: { kind: "list", short: "l", argument: "NAME=VALUE", help: "only with this label" },
  ...listOptions,
} as const satisfies OptionSpecs;

export const targetOptions = {
  pod: { kind: "flag", help: "the name means a pod" },
  container: { kind: "flag", help: "the name means a container" },
} as const satisfies OptionSpecs;

export const stopSeconds = "10";

export const anyNumber = Number.POSITIVE_INFINITY;
