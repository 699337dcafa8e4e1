import { exitCodes } from "./failure.ts";
import {
  type CommandGroup,
  type CommandSpec,
  commonOptions,
  type OptionSpec,
  type OptionSpecs,
  withCommonOptions,
} from "./table/spec.ts";
import { allCommands } from "./table/table.ts";

const groups: readonly CommandGroup[] = ["images", "containers and pods", "node"];

const maxWidth = 80;
/** Narrower than this a terminal has to wrap by itself. */
const minWidth = 40;
/** What is longer on the left has a line of its own; below `sideBySide` columns everything has. */
const maxLeft = 26;
const sideBySide = 60;

/** For a terminal of so many columns; never wider than 80. */
export function helpWidth(available: number | undefined): number {
  return Math.max(minWidth, Math.min(maxWidth, available ?? maxWidth));
}

/** `crib --help` */
export function formatHelp(width: number): string {
  const sections = groups.map((group) => {
    const rows = Object.entries(allCommands)
      .filter(([, command]) => command.group === group)
      .map(([name, { summary }]) => [name, summary] as const);
    return `${capitalise(group)}:\n${columns(rows, width)}`;
  });
  return `crib is a Kubernetes container runtime in one file.

Usage: crib COMMAND [OPTIONS] [ARGUMENTS]

${sections.join("\n")}
${wrap("Every command has --help with examples. The commands are clients of `crib serve`, on the socket that --socket or CRIB_SOCKET names (unix:///run/crib/crib.sock).", width)}

Exit codes:
${columns(exitCodeRows, width)}`;
}

/** `crib COMMAND --help` */
export function formatCommandHelp(name: string, command: CommandSpec, width: number): string {
  const details = command.details === undefined ? "" : `\n${wrap(command.details, width)}\n`;
  return `${wrap(`${capitalise(command.summary)}.`, width)}

Usage: ${usagesOf(name, command).join("\n       ")}
${details}
Options:
${columns(optionRows(optionsOf(name, command)), width)}
Examples:
${command.examples.map((example) => `  ${example}\n`).join("")}`;
}

/** One line for each form. */
export function usagesOf(name: string, { usage }: CommandSpec): readonly string[] {
  return usage.split(" | ").map((form) => `crib ${name} [OPTIONS] ${form}`.trimEnd());
}

/** Its own and those of every command; the daemon is no client. */
export function optionsOf(name: string, { options }: CommandSpec): OptionSpecs {
  return name === "serve" ? { ...options, help: commonOptions.help } : withCommonOptions(options);
}

export const exitCodeRows: readonly (readonly [string, string])[] = [
  [`${exitCodes.ok}`, "done"],
  [`${exitCodes.failed}`, "failed; stderr has one line `crib: ...` that says why"],
  [`${exitCodes.usage}`, "the command line is wrong"],
  [`${exitCodes.notFound}`, "no such container, pod or image"],
  [`${exitCodes.unavailable}`, "the daemon or the registry cannot be reached"],
  [`${exitCodes.timedOut}`, "time-out"],
  [`${exitCodes.interrupted}`, "interrupted by Ctrl-C"],
  ["", "run, exec and attach exit with the code of the program in the container, or:"],
  [`${exitCodes.commandNotRun}`, "crib failed, whatever the reason"],
  [`${exitCodes.notExecutable}`, "the program cannot be executed"],
  [`${exitCodes.programNotFound}`, "there is no such program in the container"],
];

function optionRows(options: OptionSpecs): readonly (readonly [string, string])[] {
  return Object.entries(options).map(([name, spec]) => {
    const short = spec.short === undefined ? "    " : `-${spec.short}, `;
    return [`${short}${formatOption(name, spec)}`, spec.help];
  });
}

/** `--name VALUE` */
export function formatOption(name: string, spec: OptionSpec): string {
  return spec.kind === "flag" ? `--${name}` : `--${name} ${spec.argument ?? "VALUE"}`;
}

function columns(rows: readonly (readonly [string, string])[], width: number): string {
  const lengths = rows.map(([text]) => text.length).filter((size) => size <= maxLeft);
  const left = width < sideBySide ? 3 : Math.max(0, ...lengths);
  const indent = " ".repeat(left + 5);
  return rows
    .map(([text, right]) => {
      const [first = "", ...others] = wrap(right, width - indent.length).split("\n");
      const fits = text.length <= left;
      const head = fits ? `  ${text.padEnd(left)}   ${first}` : `  ${text}\n${indent}${first}`;
      return `${[head, ...others.map((line) => `${indent}${line}`)].join("\n")}\n`;
    })
    .join("");
}

/** Broken between words. */
function wrap(text: string, width: number): string {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    const longer = line === "" ? word : `${line} ${word}`;
    if (longer.length > width && line !== "") {
      lines.push(line);
      line = word;
    } else line = longer;
  }
  return [...lines, line].join("\n");
}

export function capitalise(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
