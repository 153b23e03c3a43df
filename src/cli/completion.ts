/** Completion scripts for shells, made from the commands themselves. */
import type { Command } from 'commander';

function words(command: Command): string {
  const options = command.options.flatMap((o) => (o.long ? [o.long] : []));
  return [...command.commands.map((c) => c.name()), ...options, '--help'].join(' ');
}

/** Throws a sentence when the shell is not known. */
export function completionScript(shell: string, testudo: Command): string {
  const cases = testudo.commands.map((c) => `    ${c.name()}) words="${words(c)}" ;;`).join('\n');
  const bash = `_testudo() {
  local words cur="\${COMP_WORDS[COMP_CWORD]}"
  case "\${COMP_WORDS[1]}" in
${cases}
    *) words="${words(testudo)}" ;;
  esac
  if [ "$COMP_CWORD" -eq 1 ]; then words="${words(testudo)}"; fi
  case "$cur" in
    -*) COMPREPLY=($(compgen -W "$words" -- "$cur")) ;;
    *) if [ "$COMP_CWORD" -eq 1 ]; then COMPREPLY=($(compgen -W "$words" -- "$cur")); else COMPREPLY=($(compgen -f -- "$cur")); fi ;;
  esac
}
complete -F _testudo testudo
`;
  if (shell === 'bash') return bash;
  if (shell === 'zsh') return `autoload -U +X bashcompinit && bashcompinit\n${bash}`;
  throw new Error(`completion ${shell}: 'bash' or 'zsh' is wanted`);
}
