/** The bench's commands run and print what they should; no time is asserted. */
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, describe, expect, test } from 'vitest';
import { values } from '../bench/peers/cases.js';

const root = join(import.meta.dirname, '..');
const folder = mkdtempSync(join(tmpdir(), 'dawngrad-bench-'));
const installed = existsSync(join(root, 'bench/peers/node_modules/@jax-js/jax/package.json'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Standard output of `npm run bench -- …`, whatever its exit status. */
async function bench(...args: string[]): Promise<string> {
  const run = promisify(execFile)(process.execPath, ['--import', 'tsx', 'bench/main.ts', ...args], {
    cwd: root,
  });
  return (await run.catch((error: { stdout: string }) => error)).stdout;
}

const results = (file: string) => JSON.parse(readFileSync(file, 'utf8'));

// Each command is a process that loads the library, on machines that may be busy.
describe('npm run bench', { timeout: 240_000 }, () => {
  test('--help names the commands', async () => {
    const text = await bench('--help');
    for (const name of ['ops', 'steps', 'dispatch', 'peers', 'tune', 'lab']) expect(text).toContain(name);
  });

  test('ops: rates and shares of the ceilings, kept as JSON', async () => {
    const file = join(folder, 'ops.json');
    const text = await bench('ops', '--device', 'cpu', '--seconds', '0.005', '--json', file);
    expect(text).toMatch(/matmul 8×16·16×8 .* GFLOP\/s +\d+ %/);
    expect(text).toMatch(/softmax \[4, 8\], forward \+ backward .* GB\/s +\d+ %/);
    expect(text).toContain('Ceilings: copy of');
    const { kind, device, machine, date, node, ops } = results(file);
    expect({ kind, device, node }).toEqual({
      kind: 'ops',
      device: expect.stringContaining('CPU'),
      node: process.version,
    });
    expect(machine).toContain('cores');
    expect(new Date(date).getTime()).toBeGreaterThan(0);
    expect(ops.rows.length).toBeGreaterThan(20);
    for (const { micros, share } of ops.rows) {
      expect(micros).toBeGreaterThan(0);
      expect(share).toBeGreaterThan(0);
    }
  });

  test('steps: eager, captured and cold', async () => {
    const file = join(folder, 'steps.json');
    const text = await bench(
      'steps',
      '--device',
      'cpu',
      '--seconds',
      '0.01',
      '--only',
      'MLP',
      '--cold',
      '--json',
      file,
    );
    expect(text).toMatch(/MLP.* eager /);
    expect(text).toMatch(/MLP.* captured /);
    const { steps, cold } = results(file);
    expect(steps.map((s: { mode: string }) => s.mode)).toEqual(['eager', 'captured']);
    expect(steps[0].parameters).toBe(784 * 256 + 256 + 256 * 10 + 10);
    for (const s of steps) expect(s.dispatches).toBeGreaterThan(0);
    expect(cold[0].firstMs).toBeGreaterThan(0);
  });

  // Dawn's null backend compiles and computes nothing: the commands run, their times mean nothing.
  test('dispatch and tune on an adapter', async () => {
    const text = await bench('dispatch', '--adapter', 'null', '--seconds', '0.01');
    expect(text).toMatch(/\nimmediates +[\d.]+ +[\d.]+ +-?[\d.]+ +0\n/);
    expect(text).toMatch(
      /CPU time per replayed dispatch.*\n.*\n.*\nNode\.js, Dawn's null backend +[\d.]+ +[\d.]+ +\d+ +0\n/,
    );
    expect(text).toContain('A dispatch that does nothing');
    const file = join(folder, 'table.json');
    await bench('tune', '--adapter', 'null', '--seconds', '0.01', '--json', file);
    const rules = results(file).table.software;
    expect(rules.length).toBeGreaterThan(4);
    for (const { variant } of rules) expect(variant).toMatch(/^(registers|tiles|rows|matrix)/);
  });

  test('lab lists the laboratories', async () => {
    expect(await bench('lab')).toContain('Kernel laboratories: ');
  });

  test.skipIf(installed)(
    `peers: says what to install${installed ? ' (skipped: they are installed)' : ''}`,
    async () => {
      expect(await bench('peers')).toContain('npm ci --prefix bench/peers');
    },
  );

  test.skipIf(!installed)(
    `peers: agree on what they compute${installed ? '' : ' (skipped: npm ci --prefix bench/peers)'}`,
    async () => {
      const file = join(folder, 'peers.json');
      const text = await bench(
        ...['peers', '--device', 'cpu', '--only', 'softmax .128|tiny', '--engines', 'dawngrad-cpu$|wasm'],
        ...['--seconds', '0.005', '--rounds', '1', '--json', file],
      );
      expect(text).toContain('Without a GPU');
      const { problems, rows, engines } = results(file);
      expect(problems).toEqual([]);
      expect(Object.keys(engines)).toEqual(['dawngrad-cpu', 'jax-wasm', 'tfjs-wasm']);
      expect(rows.map((r: { name: string }) => r.name)).toEqual([
        'softmax [128, 64]',
        'tiny Transformer step',
      ]);
      for (const row of rows) expect(row.ratio.cpu).toBeGreaterThan(0);
    },
  );

  test('the inputs of all engines come from the same numbers', () => {
    const spec = { name: 'x', shape: [4], seed: 1, kind: 'uniform', scale: 1 } as const;
    // Computed in Python.
    const expected = [-0.859466, 0.299171, -0.014094, -0.087478];
    [...values(spec)].forEach((x, i) => expect(x).toBeCloseTo(expected[i], 6));
    expect([...values({ ...spec, kind: 'ids', below: 10 })]).toEqual([7, 9, 3, 5]);
  });
});
