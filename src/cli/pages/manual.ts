import { version } from "../../version.ts";
import { exitCodeRows, formatOption, optionsOf, usagesOf } from "../help.ts";
import type { CommandSpec, OptionSpec } from "../table/spec.ts";
import { allCommands } from "../table/table.ts";

/** man(7). A page has no date: the same source makes the same bytes. */
function page(name: string, summary: string, sections: readonly string[]): string {
  const title = name.toUpperCase();
  const head = `.TH ${quoted(title)} 1 "" ${quoted(`crib ${version}`)} "crib"\n`;
  return `${head}.SH NAME\n${roff(name)} \\- ${roff(summary)}\n${sections.join("")}`;
}

/** crib.1 */
export function formatManual(): string {
  const rows = Object.entries(allCommands).map(([name, { summary }]) => {
    return `.TP\n.BR ${roff(`crib-${name}`)} (1)\n${roff(summary)}\n`;
  });
  const codes = exitCodeRows.map(([code, meaning]) => {
    return code === "" ? `.PP\n${roff(meaning)}\n` : `.TP\n.B ${code}\n${roff(meaning)}\n`;
  });
  return page("crib", "a Kubernetes container runtime in one file", [
    ".SH SYNOPSIS\n.B crib\n.I COMMAND\n[OPTIONS] [ARGUMENTS]\n",
    `.SH COMMANDS\n${rows.join("")}`,
    `.SH "EXIT STATUS"\n${codes.join("")}`,
    ".SH ENVIRONMENT\n.TP\n.B CRIB_SOCKET\nthe CRI socket (unix:///run/crib/crib.sock)\n",
    ".TP\n.B CRIB_CREDS\nUSER:PASS for the registry of pull and run\n.TP\n.B NO_COLOR\nno colours where it is set\n",
  ]);
}

/** All pages, by file name. */
export function manualPages(): readonly { readonly name: string; readonly text: string }[] {
  const pages = Object.entries(allCommands).map(([name, command]) => {
    return { name: `crib-${name}.1`, text: commandPage(name, command) };
  });
  return [{ name: "crib.1", text: formatManual() }, ...pages];
}

function commandPage(name: string, command: CommandSpec): string {
  const options = Object.entries(optionsOf(name, command)).map(([option, spec]) => {
    return `.TP\n.B ${roff(optionNames(option, spec))}\n${roff(spec.help)}\n`;
  });
  const synopsis = usagesOf(name, command).map((usage) => `${roff(usage)}\n`);
  const details =
    command.details === undefined ? [] : [`.SH DESCRIPTION\n${roff(command.details)}\n`];
  const examples = command.examples.map((example) => `${roff(example)}\n`);
  return page(`crib-${name}`, command.summary, [
    `.SH SYNOPSIS\n.nf\n${synopsis.join("")}.fi\n`,
    ...details,
    `.SH OPTIONS\n${options.join("")}`,
    `.SH EXAMPLES\n.nf\n${examples.join("")}.fi\n`,
    '.SH "SEE ALSO"\n.BR crib (1)\n',
  ]);
}

function optionNames(name: string, spec: OptionSpec): string {
  const short = spec.short === undefined ? "" : `-${spec.short}, `;
  return `${short}${formatOption(name, spec)}`;
}

function roff(text: string): string {
  return text
    .replaceAll("\\", "\\e")
    .replaceAll("-", "\\-")
    .replace(/^([.'])/gm, "\\&$1");
}

function quoted(text: string): string {
  return `"${roff(text)}"`;
}
