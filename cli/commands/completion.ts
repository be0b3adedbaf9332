/** `mesh completion`: shell scripts that ask the hidden `mesh __complete` for candidates. */
import { Argument, type Command } from 'commander';
import { resources } from '../../kube/resources.ts';
import type { Context } from '../context.ts';

const scripts: Record<string, string> = {
  bash: `_mesh() {
  local cur="\${COMP_WORDS[COMP_CWORD]}"
  mapfile -t COMPREPLY < <(compgen -W "$(mesh __complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)" -- "$cur")
}
complete -o default -F _mesh mesh
`,
  zsh: `#compdef mesh
_mesh() {
  local -a candidates
  candidates=(\${(f)"$(mesh __complete -- "\${words[@]:1:CURRENT-1}" 2>/dev/null)"})
  compadd -a candidates
}
compdef _mesh mesh
`,
  fish: `complete -c mesh -f -a '(mesh __complete -- (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'
`,
};

/** Names from the cluster; nothing where it does not answer within a second. */
async function names(context: Context, what: 'namespaces' | 'deployments'): Promise<string[]> {
  const ask = async () => {
    const kube = await context.kube();
    const options = what === 'deployments' ? { namespace: kube.namespace } : {};
    return (await kube.list(resources[what], options)).map((object) => object.metadata.name ?? '');
  };
  const late = new Promise<string[]>((resolve) => setTimeout(resolve, 900, []));
  // Completion has no place to show an error: no candidates is the answer.
  return Promise.race([ask().catch(() => []), late]);
}

async function candidates(program: Command, context: Context, words: readonly string[]): Promise<string[]> {
  const current = words.at(-1) ?? '';
  const before = words.at(-2) ?? '';
  if (before === '-n' || before === '--namespace') return names(context, 'namespaces');
  const commands = program.commands.filter((command) => !command.name().startsWith('__'));
  const typed = words.slice(0, -1);
  const outer = commands.find((candidate) => typed.includes(candidate.name()));
  const command = outer?.commands.find((candidate) => typed.includes(candidate.name())) ?? outer;
  if (current.startsWith('-')) {
    return (command ?? program).options.map((option) => option.long ?? option.short ?? '');
  }
  if (!command) return commands.map((candidate) => candidate.name());
  if (command.commands.length > 0) return command.commands.map((candidate) => candidate.name());
  if (before === '-o' || before === '--output') {
    return command.options.find((option) => option.long === '--output')?.argChoices ?? [];
  }
  if (/^deploy(ment)?\//.test(current)) {
    const kind = current.slice(0, current.indexOf('/') + 1);
    return (await names(context, 'deployments')).map((name) => kind + name);
  }
  if (command.name() === 'stat') return ['deploy', 'sts', 'ds', 'job', 'cj', 'po', 'svc', 'ns', 'all'];
  return command.registeredArguments[0]?.argChoices?.slice() ?? [];
}

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
      const found = await candidates(program, context, words);
      context.io.write(found.map((name) => `${name}\n`).join(''));
    });
}
