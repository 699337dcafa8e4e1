import type { OptionSpec, OptionSpecs } from "./args.ts";
import type { Command, CommandGroup } from "./command.ts";
import { exitCodes } from "./failure.ts";

const groups: readonly CommandGroup[] = ["images", "containers and pods", "node"];

const roles = [["serve", "the daemon: answer CRI on a Unix socket (`crib serve --help`)"]] as const;

/** `crib --help` */
export function formatHelp(commands: readonly Command[]): string {
  const sections = groups.map((group) => {
    const lines = commands.filter((command) => command.group === group);
    const rows = lines.map((command) => [command.name, command.summary] as const);
    return `${capitalise(group)}:\n${columns(group === "node" ? [...roles, ...rows] : rows)}`;
  });
  return `crib is a Kubernetes container runtime in one file.

Usage: crib COMMAND [OPTIONS] [ARGUMENTS]

${sections.join("\n")}
Every command has --help with examples. They speak CRI to ${"`crib serve`"}:
  --socket ADDRESS, or CRIB_SOCKET; unix:///run/crib/crib.sock when neither is given

Exit codes:
${columns(exitCodeRows)}`;
}

/** `crib COMMAND --help` */
export function formatCommandHelp(command: Command): string {
  const details = command.details === undefined ? "" : `\n${wrap(command.details)}\n`;
  const usages = command.usage
    .split(" | ")
    .map((usage) => `crib ${command.name} [OPTIONS] ${usage}`);
  return `${capitalise(command.summary)}.

Usage: ${usages.map((usage) => usage.trimEnd()).join("\n       ")}
${details}
Options:
${columns(optionRows(command.options))}
Examples:
${command.examples.map((example) => `  ${example}\n`).join("")}`;
}

const exitCodeRows: readonly (readonly [string, string])[] = [
  [`${exitCodes.ok}`, "done"],
  [`${exitCodes.failed}`, "failed; stderr has one line `crib: ...` that says why"],
  [`${exitCodes.usage}`, "the command line makes no sense"],
  [`${exitCodes.notFound}`, "no such container, pod or image"],
  [`${exitCodes.unavailable}`, "the daemon or the registry cannot be reached"],
  [`${exitCodes.timedOut}`, "it took too long"],
  [
    `${exitCodes.commandNotRun}`,
    "run, exec and attach: crib failed, not the command (else its own code)",
  ],
  [`${exitCodes.interrupted}`, "interrupted by Ctrl-C"],
];

function optionRows(options: OptionSpecs): readonly (readonly [string, string])[] {
  return Object.entries(options).map(([name, spec]) => [formatOption(name, spec), spec.help]);
}

function formatOption(name: string, spec: OptionSpec): string {
  const short = spec.short === undefined ? "    " : `-${spec.short}, `;
  const argument = spec.kind === "flag" ? "" : ` ${spec.argument ?? "VALUE"}`;
  return `${short}--${name}${argument}`;
}

function columns(rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(...rows.map(([left]) => left.length));
  return rows.map(([left, right]) => `  ${left.padEnd(width)}   ${right}\n`).join("");
}

/** Broken for a terminal of 80 columns. */
function wrap(text: string): string {
  return text.replace(/(.{1,80})(?: |$)/g, "$1\n").trimEnd();
}

function capitalise(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
