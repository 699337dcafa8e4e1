import { capitalise, exitCodeRows, formatOption, optionsOf, usagesOf } from "../help.ts";
import { type CommandGroup, type CommandSpec, commonOptions } from "../table/spec.ts";
import { allCommands } from "../table/table.ts";

const groups: readonly CommandGroup[] = ["images", "containers and pods", "node"];

/** docs/cli.md */
export function formatMarkdown(): string {
  const codes = exitCodeRows
    .filter(([code]) => code !== "")
    .map(([code, meaning]) => `| ${code} | ${cell(meaning)} |`);
  const sections = groups.flatMap((group) => [
    `## ${capitalise(group)}\n`,
    ...Object.entries(allCommands)
      .filter(([, command]) => command.group === group)
      .map(([name, command]) => section(name, command)),
  ]);
  return `# Command line

This page is made from the table of commands (\`src/cli/table/\`), as help, completions (\`crib completion bash\`) and
manual pages (\`crib man\`) are. Options are written as for docker: \`--name value\`, \`--name=value\`, \`-n value\`, \`-nvalue\`,
\`-it\` for flags, \`--flag=false\`, and \`--\` ends them. Of an option that takes one value and is given twice the last one
counts. \`NO_COLOR\` takes the colours away; a pipe gets plain columns, and \`-o json\` the same fields in every version.

Every command takes \`--socket ADDRESS\` (or \`CRIB_SOCKET\`; ${commonOptions.socket.help.replace(/^.*, (.*)\)$/, "$1")} when neither is given) and \`--help\`.

## Exit codes

| code | meaning |
|---|---|
${codes.join("\n")}

\`run\`, \`exec\` and \`attach\` exit with the code of the program in the container; 125 to 127 are of these three only, with
docker's meanings.

${sections.join("\n")}`;
}

function section(name: string, command: CommandSpec): string {
  const own = new Set(Object.keys(command.options));
  const rows = Object.entries(optionsOf(name, command))
    .filter(([option]) => own.has(option))
    .map(([option, spec]) => {
      const short = spec.short === undefined ? "" : `\`-${spec.short}\`, `;
      return `| ${short}\`${formatOption(option, spec).replaceAll("|", "\\|")}\` | ${cell(spec.help)} |`;
    });
  const table = rows.length === 0 ? "" : `\n| option | meaning |\n|---|---|\n${rows.join("\n")}\n`;
  const absent = Object.entries(command.absent ?? {}).map(([option, instead]) => {
    return `| \`${option.length === 1 ? "-" : "--"}${option}\` | ${cell(instead)} |`;
  });
  const others =
    absent.length === 0
      ? ""
      : `\nOf docker's options these are not there:\n\n| option | in its place |\n|---|---|\n${absent.join("\n")}\n`;
  const details = command.details === undefined ? "" : `\n${command.details}\n`;
  return `### crib ${name}

${capitalise(command.summary)}.

\`\`\`
${usagesOf(name, command).join("\n")}
\`\`\`
${details}${table}${others}
\`\`\`sh
${command.examples.join("\n")}
\`\`\`
`;
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|");
}
