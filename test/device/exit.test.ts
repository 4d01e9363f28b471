/** Every process that uses the device ends by itself with code 0, whether it closes the device or not. */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
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

    test.skipIf(ADAPTER !== 'swiftshader')(
      'processes that unpack SwiftShader at the same time do not disturb each other, and mend a broken copy',
      async () => {
        const cache = join(folder, 'cache');
        const good = { code: 0, signal: null, out: '6\n', err: '' };
        expect(await Promise.all([1, 2, 3].map(() => run('close', cache)))).toEqual([good, good, good]);
        const copies = readdirSync(cache);
        expect(copies).toHaveLength(1);
        rmSync(join(cache, copies[0], 'libvulkan.so.1'));
        expect(await run('close', cache)).toEqual(good);
        expect(readdirSync(cache)).toEqual(copies);
        expect(existsSync(join(cache, copies[0], 'libvulkan.so.1'))).toBe(true);
      },
      60_000,
    );

    function run(
      ending: string,
      cache?: string,
    ): Promise<{ code: number | null; signal: string | null; out: string; err: string }> {
      return new Promise((resolve, reject) => {
        const env = cache ? { ...process.env, DAWNGRAD_CACHE: cache } : process.env;
        const child = spawn(process.execPath, [script, ending], {
          env,
          timeout: 60_000,
          killSignal: 'SIGKILL',
        });
        let [out, err] = ['', ''];
        child.stdout.on('data', (chunk) => (out += chunk));
        child.stderr.on('data', (chunk) => (err += chunk));
        child.on('error', reject);
        child.on('close', (code, signal) => {
          // Dawn remarks on some adapters' limits; whatever else is printed is a fault.
          resolve({ code, signal, out, err: err.replace(/^Warning: .* artificially reduced .*\n/gm, '') });
        });
      });
    }
  },
);
