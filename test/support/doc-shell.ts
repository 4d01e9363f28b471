/** Whether the shell commands that pages show can work. */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './doc-blocks.js';

const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  scripts: Record<string, string>;
};
/** Programs that a newcomer has, or that a page explains. */
const TOOLS = new Set(['cd', 'git', 'node', 'mkdir']);

/** Help texts of our own command, by subcommand. */
const help = new Map<string, string>();
function helpOf(command: string): string {
  let text = help.get(command);
  if (text === undefined) {
    const args = ['--import', 'tsx', 'src/cli/main.ts', ...(command ? [command] : []), '--help'];
    text = execFileSync(process.execPath, args, { cwd: ROOT, encoding: 'utf8' });
    help.set(command, text);
  }
  return text;
}

/** Why a shell line cannot work, or null. */
export function shellProblem(line: string): string | null {
  const words = line
    .replace(/\s+#.*$/, '')
    .trim()
    .split(/\s+/);
  while (/^[A-Z_]+=/.test(words[0])) {
    const name = words.shift()!.split('=')[0];
    if (!environmentNames().has(name)) return `no source file reads the variable ${name}`;
  }
  const [program, second, third] = words;
  if (program === 'npm') {
    if (second === 'ci' || second === 'install') return null;
    const script = second === 'run' ? third : second;
    return script in scripts ? null : `package.json has no script '${script}'`;
  }
  if (program === 'npx' && second === 'dawngrad') {
    const command = third && !third.startsWith('-') ? third : '';
    if (command && !new RegExp(`^  ${command}\\b`, 'm').test(helpOf('')))
      return `there is no command '${command}'`;
    const flags = words.filter((w) => w.startsWith('--'));
    const unknown = flags.find((f) => !helpOf(command).includes(`${f} `) && f !== '--help');
    return unknown ? `'dawngrad ${command}' has no option ${unknown}` : null;
  }
  return TOOLS.has(program) ? null : `'${program}' is not among the programs that pages may use`;
}

let variables: Set<string> | null = null;

/** Every environment variable of ours that a source names. */
function environmentNames(): Set<string> {
  if (!variables) {
    const files = ['src', 'test'].flatMap((folder) =>
      (readdirSync(join(ROOT, folder), { recursive: true }) as string[])
        .filter((f) => f.endsWith('.ts'))
        .map((f) => join(ROOT, folder, f)),
    );
    variables = new Set(files.flatMap((f) => readFileSync(f, 'utf8').match(/\bDAWNGRAD_[A-Z_]+\b/g) ?? []));
  }
  return variables;
}
