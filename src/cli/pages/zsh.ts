import { capitalise, optionsOf } from "../help.ts";
import type { CommandSpec, Completion, OptionSpec } from "../table/spec.ts";
import { allCommands } from "../table/table.ts";

const actions: Readonly<Record<Completion, string>> = {
  container: "{_crib_names container}",
  pod: "{_crib_names pod}",
  target: "{_crib_names target}",
  image: "{_crib_names image}",
  volume: "{_crib_names volume}",
  file: "_files",
  directory: "_files -/",
};

/** The completion of zsh: a file of the name _crib in a directory of $fpath, or sourced. */
export function zshCompletion(): string {
  const commands = Object.entries(allCommands);
  const described = commands.map(([name, { summary }]) => `    ${quote(`${name}:${summary}`)}\n`);
  const cases = commands.map(
    ([name, command]) => `    ${name})\n${argumentsOf(name, command)}      ;;\n`,
  );
  return `#compdef crib
# zsh completion of crib
_crib_names() {
  local -a names
  names=(\${(f)"$(crib completion names $1 2>/dev/null)"})
  (( $#names )) && compadd -a names
}
_crib() {
  local context state line
  local -a commands
  commands=(
${described.join("")}  )
  if (( CURRENT == 2 )); then
    _describe -t commands 'crib command' commands
    return
  fi
  local command=$words[2]
  shift words
  (( CURRENT-- ))
  case $command in
    help) _describe -t commands 'crib command' commands ;;
${cases.join("")}  esac
}
if [[ $funcstack[1] == _crib ]]; then _crib "$@"; else compdef _crib crib; fi
`;
}

function argumentsOf(name: string, command: CommandSpec): string {
  const options = Object.entries(optionsOf(name, command)).flatMap(([option, spec]) => {
    const names = [`--${option}`, ...(spec.short === undefined ? [] : [`-${spec.short}`])];
    return names.map((one) => quote(`${prefixOf(spec, names)}${formOf(one, spec)}`));
  });
  const { verbs, positionals } = command;
  const action = positionals.completes === undefined ? " " : actions[positionals.completes];
  const rest =
    positionals.commandAfter === undefined
      ? [...(positionals.max > 0 ? [quote(`*:argument:${action}`)] : [])]
      : [quote(`1:argument:${action}`), quote("*:: :_normal")];
  const first = verbs === undefined ? [] : [quote(`1:verb:(${verbs.join(" ")})`)];
  const all = ["-s", "-S", ...options, ...first, ...rest];
  return `      _arguments ${all.join(" \\\n        ")}\n`;
}

function prefixOf({ kind }: OptionSpec, names: readonly string[]): string {
  return kind === "list" ? "*" : `(${names.join(" ")})`;
}

function formOf(name: string, spec: OptionSpec): string {
  const help = `[${capitalise(spec.help).replace(/[[\]\\:]/g, "\\$&")}]`;
  if (spec.kind === "flag") return `${name}${help}`;
  const argument = (spec.argument ?? "VALUE").replaceAll(":", "\\:");
  const action =
    spec.choices !== undefined
      ? `(${spec.choices.join(" ")})`
      : spec.completes === undefined
        ? " "
        : actions[spec.completes];
  return `${name}${name.startsWith("--") ? "=" : "+"}${help}:${argument}:${action}`;
}

function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
