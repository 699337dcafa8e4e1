import { optionsOf } from "../help.ts";
import type { Completion, OptionSpec } from "../table/spec.ts";
import { allCommands } from "../table/table.ts";

const actions: Readonly<Record<Completion, string>> = {
  container: "-xa '(crib completion names container 2>/dev/null)'",
  pod: "-xa '(crib completion names pod 2>/dev/null)'",
  target: "-xa '(crib completion names target 2>/dev/null)'",
  image: "-xa '(crib completion names image 2>/dev/null)'",
  volume: "-xa '(crib completion names volume 2>/dev/null)'",
  file: "-rF",
  directory: "-xa '(__fish_complete_directories)'",
};

/** The completion of fish. */
export function fishCompletion(): string {
  const commands = Object.entries(allCommands);
  const lines = commands.flatMap(([name, command]) => {
    const inside = `complete -c crib -n '__fish_seen_subcommand_from ${name}'`;
    const { verbs, positionals } = command;
    return [
      `complete -c crib -n __fish_use_subcommand -xa ${name} -d ${quote(command.summary)}`,
      ...(verbs ?? []).map((verb) => `${inside} -xa ${verb}`),
      ...(positionals.completes === undefined
        ? []
        : [`${inside} ${actions[positionals.completes]}`]),
      ...Object.entries(optionsOf(name, command)).map(([option, spec]) => {
        const short = spec.short === undefined ? "" : ` -s ${spec.short}`;
        return `${inside} -l ${option}${short}${formOf(spec)} -d ${quote(spec.help)}`;
      }),
    ];
  });
  return `# fish completion of crib\ncomplete -c crib -f\n${lines.join("\n")}\n`;
}

function formOf({ kind, choices, completes }: OptionSpec): string {
  if (kind === "flag") return "";
  if (choices !== undefined) return ` -xa ${quote(choices.join(" "))}`;
  return completes === undefined ? " -x" : ` ${actions[completes]}`;
}

function quote(text: string): string {
  return `'${text.replace(/[\\']/g, "\\$&")}'`;
}
