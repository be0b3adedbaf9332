/** `mesh completion`: shell scripts that ask the hidden `mesh __complete` for candidates. */
import { Argument, type Command } from 'commander';
import type { Context } from '../context.ts';

/** What the scripts do where there is no candidate: complete file names. */
const scripts: Record<string, string> = {
  bash: `_mesh() {
  local words=() index word
  # Bash has split --output=json at the "="; it is one word again.
  for ((index = 1; index <= COMP_CWORD; index++)); do
    word="\${COMP_WORDS[index]}"
    if [[ $word == "=" || ( $index -gt 1 && "\${COMP_WORDS[index - 1]}" == "=" ) ]]; then
      words[-1]+="$word"
    else
      words+=("$word")
    fi
  done
  local current="\${COMP_WORDS[COMP_CWORD]}"
  [[ $current == "=" ]] && current=""
  mapfile -t COMPREPLY < <(compgen -W "$(mesh __complete -- "\${words[@]}" 2>/dev/null)" -- "$current")
}
complete -o default -F _mesh mesh
`,
  zsh: `#compdef mesh
_mesh() {
  local -a candidates
  candidates=(\${(f)"$(mesh __complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)"})
  [[ $PREFIX == --*=* ]] && compset -P '*='
  if (( \${#candidates} )); then
    compadd -a candidates
  else
    _files
  fi
}
compdef _mesh mesh
`,
  fish: `function __mesh_complete
  set -l current (commandline -ct)
  # Fish completes the whole word, --output= with it.
  set -l flag (string match -r -- '^--[^=]+=' "$current")
  mesh __complete -- (commandline -opc)[2..] "$current" 2>/dev/null | string replace -r -- '^' "$flag"
end
complete -c mesh -a '(__mesh_complete)'
`,
};

export function register(program: Command, context: Context): void {
  program
    .command('completion')
    .description('Print a completion script for a shell')
    .addArgument(new Argument('<shell>', 'shell').choices(Object.keys(scripts)))
    .addHelpText('after', '\nExamples:\n  source <(mesh completion bash)\n  mesh completion fish | source')
    .action((shell: string) => context.io.write(scripts[shell] ?? ''));
  program
    .command('__complete', { hidden: true })
    .argument('[words...]')
    .action(async (words: string[]) => {
      const { candidates } = await import('../complete.ts');
      const found = await candidates(program, context, words);
      context.io.write(found.map((name) => `${name}\n`).join(''));
    });
}
