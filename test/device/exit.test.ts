/** Every process that uses the device ends by itself with code 0, whether it closes the device or not. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ADAPTER, problem } from '../support/webgpu.js';

/** Processes altogether; 100 for the full check. */
const COUNT = Number(process.env.DAWNGRAD_EXIT_COUNT ?? 21);
const ENDINGS = ['close', 'open', 'busy', 'reading', 'exit', 'queued', 'both'];

describe.skipIf(problem !== null)(
  `processes end by themselves${problem ? ` (skipped: ${problem})` : ''}`,
  () => {
    const folder = mkdtempSync(join(tmpdir(), 'dawngrad-exit-'));
    const script = join(folder, 'child.mjs');

    beforeAll(() =>
      build({
        entryPoints: ['test/support/exit-child.ts'],
        bundle: true,
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
      async (ending) => {
        const runs = Math.ceil((COUNT - ENDINGS.indexOf(ending)) / ENDINGS.length);
        for (let i = 0; i < runs; i++) {
          const { code, signal, out, err } = await run(ending);
          expect({ code, signal, out, err }, `run ${i} of ${runs} on ${ADAPTER}`).toEqual({
            code: 0,
            signal: null,
            out: '6\n',
            err: '',
          });
        }
      },
      120_000,
    );

    function run(
      ending: string,
    ): Promise<{ code: number | null; signal: string | null; out: string; err: string }> {
      return new Promise((resolve, reject) => {
        const child = spawn(process.execPath, [script, ending], { timeout: 20_000, killSignal: 'SIGKILL' });
        let [out, err] = ['', ''];
        child.stdout.on('data', (chunk) => (out += chunk));
        child.stderr.on('data', (chunk) => (err += chunk));
        child.on('error', reject);
        child.on('close', (code, signal) => resolve({ code, signal, out, err }));
      });
    }
  },
);
