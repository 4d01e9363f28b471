/** Workers never keep a process alive, and never disturb its end. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import { afterAll, beforeAll, expect, test } from 'vitest';

/** Processes altogether; 100 for the full check. */
const COUNT = Number(process.env.DAWNGRAD_EXIT_COUNT ?? 21);
const ENDINGS: [ending: string, out: string][] = [
  ['close', 'true\n'],
  ['open', 'true\n'],
  ['watching', 'true\n'],
  ['starting', 'true\ntrue\n'],
  ['exit', 'true\n'],
  ['exitStarting', 'true\n'],
  ['both', 'true\ntrue\n'],
];
const folder = mkdtempSync(join(tmpdir(), 'dawngrad-exit-'));
const script = join(folder, 'child.mjs');

beforeAll(() =>
  build({
    entryPoints: ['test/support/exit-threads-child.ts'],
    bundle: true,
    minify: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    outfile: script,
    logLevel: 'error',
  }),
);
afterAll(() => rmSync(folder, { recursive: true }));

test.each(ENDINGS)(
  'ending: %s',
  async (ending, out) => {
    const runs = Math.ceil((COUNT - ENDINGS.findIndex(([name]) => name === ending)) / ENDINGS.length);
    for (let i = 0; i < runs; i++) {
      expect(await run(ending), `run ${i} of ${runs}`).toEqual({ code: 0, signal: null, out, err: '' });
    }
  },
  120_000,
);

function run(
  ending: string,
): Promise<{ code: number | null; signal: string | null; out: string; err: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [script, ending], { timeout: 60_000, killSignal: 'SIGKILL' });
    let [out, err] = ['', ''];
    child.stdout.on('data', (chunk) => (out += chunk));
    child.stderr.on('data', (chunk) => (err += chunk));
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ code, signal, out, err }));
  });
}
