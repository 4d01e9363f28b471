/** Runs a recipe as a user does. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const TSX = import.meta.resolve('tsx');

export interface RecipeRun {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/**
 * A recipe's main file in a process of its own, on the CPU device.
 *
 * @param main path below `recipes`
 * @param cwd where it runs, and leaves what it leaves
 */
export function runRecipe(
  main: string,
  cwd: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<RecipeRun> {
  const path = fileURLToPath(new URL(`../../recipes/${main}`, import.meta.url));
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['--import', TSX, path, ...args], {
      cwd,
      env: { ...process.env, DAWNGRAD_DEVICE: 'cpu', DAWNGRAD_ADAPTER: '', ...env },
    });
    let [out, err] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (s: string) => (out += s));
    child.stderr.setEncoding('utf8').on('data', (s: string) => (err += s));
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, out, err }));
  });
}
