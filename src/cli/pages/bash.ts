import { optionsOf } from "../help.ts";
import type { Completion, OptionSpec } from "../table/spec.ts";
import { allCommands } from "../table/table.ts";

/** What a shell calls to complete a value. */
const actions: Readonly<Record<Completion, string>> = {
  container: "__crib_names container",
  pod: "__crib_names pod",
  target: "__crib_names target",
  image: "__crib_names image",
  volume: "__crib_names volume",
  file: "__crib_files",
  directory: "__crib_directories",
};

/** The completion of bash, which needs no package of helpers. */
export function bashCompletion(): string {
  const commands = Object.entries(allCommands);
  const cases = commands.map(([name, command]) => {
    const options = Object.entries(optionsOf(name, command));
    const words = options.flatMap(([option, { short }]) => [
      `--${option}`,
      ...(short === undefined ? [] : [`-${short}`]),
    ]);
    const values = options
      .filter(([, { kind }]) => kind !== "flag")
      .map(([option, spec]) => `      ${patternOf(option, spec)}) ${actionOf(spec)} ;;\n`);
    const { verbs, positionals } = command;
    return `    ${name})
      options="${words.join(" ")}"
      verbs="${(verbs ?? []).join(" ")}"
      after=${positionals.commandAfter ?? 0}
      case $previous in
${values.join("")}      *) false ;;
      esac && return
      action="${positionals.completes === undefined ? ":" : actions[positionals.completes]}"
      ;;
`;
  });
  return `# bash completion of crib: source it, or put it into /usr/share/bash-completion/completions/crib
__crib_words() { COMPREPLY=($(compgen -W "$1" -- "$current")); }
__crib_files() { compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$current")); }
__crib_directories() { compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -d -- "$current")); }
__crib_names() {
  # Bash has cut a name at its colons.
  __crib_words "$(crib completion names "$1" 2>/dev/null)"
  local before=\${current%"\${current##*:}"} i
  case $COMP_WORDBREAKS in
    *:*) for i in "\${!COMPREPLY[@]}"; do COMPREPLY[i]=\${COMPREPLY[i]#"$before"}; done ;;
  esac
}
# The word at the cursor and those before it, with what bash has cut at colons and equal signs put together.
__crib_split() {
  local i word
  words=()
  for ((i = 0; i <= COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    if ((\${#words[@]} > 0)) && [[ $word == [:=]* || \${words[\${#words[@]} - 1]} == *[:=] ]]; then
      words[\${#words[@]} - 1]+=$word
    else
      words+=("$word")
    fi
  done
}
_crib() {
  local words current previous command options verbs after action i count=0
  COMPREPLY=()
  __crib_split
  current=\${words[\${#words[@]} - 1]}
  previous=\${words[\${#words[@]} - 2]}
  command=\${words[1]}
  if ((\${#words[@]} <= 2)); then
    __crib_words "${commands.map(([name]) => name).join(" ")} help --help --version"
    return
  fi
  if [[ $command == help ]]; then
    __crib_words "${commands.map(([name]) => name).join(" ")}"
    return
  fi
  case $current in --*=*) previous=\${current%%=*} current=\${current#*=} ;; esac
  case $command in
${cases.join("")}    *) return ;;
  esac
  for ((i = 2; i < \${#words[@]} - 1; i++)); do [[ \${words[i]} == -* ]] || ((count++)); done
  if [[ $current == -* ]]; then
    __crib_words "$options"
  elif ((count == 0)) && [[ -n $verbs ]]; then
    __crib_words "$verbs"
  elif ((after > 0 && count >= after)); then
    __crib_files
  else
    $action
  fi
}
complete -F _crib crib
`;
}

function patternOf(name: string, { short }: OptionSpec): string {
  return short === undefined ? `--${name}` : `--${name} | -${short}`;
}

function actionOf({ choices, completes }: OptionSpec): string {
  if (choices !== undefined) return `__crib_words "${choices.join(" ")}"`;
  return completes === undefined ? ":" : actions[completes];
}
