import { appendFile, mkdir, mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DataError } from '../../src/device/errors.js';
import { listRuns, RunFolder, uniqueRunFolder } from '../../src/train/run-folder.js';

let base: string;
beforeEach(async () => {
  base = join(await mkdtemp(join(tmpdir(), 'dawngrad-')), 'runs');
});
afterEach(() => rm(join(base, '..'), { recursive: true }));

describe('RunFolder', () => {
  it('keeps configuration and metrics', async () => {
    const run = await RunFolder.create(base, 'moby', { layers: 2, lr: 1e-3 });
    run.appendMetrics({ step: 1, loss: 4.5 });
    run.appendMetrics({ step: 2, loss: Number.NaN, note: 'ünïcode' });
    expect(await readFile(run.file('metrics.jsonl'), 'utf8')).toBe(
      '{"step":1,"loss":4.5}\n{"step":2,"loss":null,"note":"ünïcode"}\n',
    );
    run.close();
    const again = await RunFolder.open<{ layers: number }>(run.path);
    expect(again.config).toEqual({ layers: 2, lr: 1e-3 });
    expect(await again.readMetrics()).toEqual([
      { step: 1, loss: 4.5 },
      { step: 2, loss: null, note: 'ünïcode' },
    ]);
    await again.writeText('loss.svg', '<svg/>');
    await again.writeText('loss.svg', '<svg></svg>');
    expect(await readFile(again.file('loss.svg'), 'utf8')).toBe('<svg></svg>');
    expect((await readdir(again.path)).sort()).toEqual(['config.json', 'loss.svg', 'metrics.jsonl']);
  });

  it('takes back what a resumed run will do again, and a half-written line', async () => {
    const run = await RunFolder.create(base, 'moby', {});
    await run.truncateMetrics(5);
    expect(await run.readMetrics()).toEqual([]);
    for (let step = 1; step <= 8; step++) run.appendMetrics({ step, loss: step });
    await appendFile(run.file('metrics.jsonl'), '{"step":9,"lo');
    expect((await run.readMetrics()).map(({ step }) => step)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    await run.truncateMetrics(5);
    run.appendMetrics({ step: 6, loss: 0 });
    run.close();
    expect(await run.readMetrics()).toEqual(
      [1, 2, 3, 4, 5, 6].map((step) => ({ step, loss: step === 6 ? 0 : step })),
    );
    // Resumed at the very step of the crash: only the half line goes.
    await appendFile(run.file('metrics.jsonl'), '{"step":7');
    await run.truncateMetrics(6);
    run.appendMetrics({ step: 7, loss: 7 });
    run.close();
    expect((await run.readMetrics()).map(({ step }) => step)).toEqual([1, 2, 3, 4, 5, 6, 7]);
  });

  it('says what is wrong with a missing or corrupt run', async () => {
    await expect(RunFolder.open(join(base, 'none'))).rejects.toThrow(
      new DataError(`RunFolder.open: expected a run folder, got ${join(base, 'none')}: no such folder`),
    );
    const run = await RunFolder.create(base, 'moby', {});
    await writeFile(run.file('metrics.jsonl'), '{"step":1}\nrubbish\n{"step":3}\n');
    await expect(run.readMetrics()).rejects.toThrow(
      /^RunFolder\.readMetrics: .*metrics\.jsonl:2 is not JSON: Unexpected token/,
    );
    await writeFile(run.file('metrics.jsonl'), '{"loss":1}\n');
    await expect(run.truncateMetrics(1)).rejects.toThrow(
      new DataError(
        `RunFolder.readMetrics: ${run.file('metrics.jsonl')}:1: expected an object with an integer step, got {"loss":1}`,
      ),
    );
    expect(await readFile(run.file('metrics.jsonl'), 'utf8')).toBe('{"loss":1}\n');
    expect(() => run.appendMetrics({ step: 0.5 })).toThrow(
      new DataError('RunFolder.appendMetrics: expected an integer step, got 0.5'),
    );
    await writeFile(run.file('config.json'), '{');
    await expect(RunFolder.open(run.path)).rejects.toThrow(/^RunFolder\.open: .*config\.json is not JSON: /);
    await rm(run.file('config.json'));
    await expect(RunFolder.open(run.path)).rejects.toThrow(
      new DataError(
        `RunFolder.open: expected a run folder, got ${run.path}: it holds no readable config.json`,
      ),
    );
  });
});

describe('uniqueRunFolder', () => {
  it('never gives the same folder twice, not even at the same time', async () => {
    const paths = await Promise.all(Array.from({ length: 8 }, () => uniqueRunFolder(base, 'run')));
    const names = paths.map((path) => path.slice(base.length + 1)).sort();
    expect(names).toEqual(['run', 'run-2', 'run-3', 'run-4', 'run-5', 'run-6', 'run-7', 'run-8']);
  });

  it('refuses names that lead elsewhere, and folders that cannot be made', async () => {
    for (const name of ['', '../up', 'a/b', '.hidden', 'a\\b']) {
      await expect(uniqueRunFolder(base, name)).rejects.toThrow(
        new DataError(
          `uniqueRunFolder: expected a name of letters, digits, '.', '-', '_' and spaces, got ${JSON.stringify(name)}`,
        ),
      );
    }
    await mkdir(base, { recursive: true });
    await writeFile(join(base, 'file'), '');
    await expect(uniqueRunFolder(join(base, 'file'), 'run')).rejects.toThrow(
      /^uniqueRunFolder: cannot make a folder in .*file: E(EXIST|NOTDIR)/,
    );
  });
});

describe('listRuns', () => {
  it('lists runs only, the last one first', async () => {
    expect(await listRuns(base)).toEqual([]);
    const old = await RunFolder.create(base, 'old', {});
    const recent = await RunFolder.create(base, 'new', {});
    await mkdir(join(base, 'not-a-run'));
    await writeFile(join(base, 'file'), '');
    const past = new Date(Date.now() - 60_000);
    await utimes(old.path, past, past);
    expect((await listRuns(base)).map(({ name }) => name)).toEqual(['new', 'old']);
    await utimes(recent.path, past, past);
    old.appendMetrics({ step: 1 });
    old.close();
    const runs = await listRuns(base);
    expect(runs.map(({ path }) => path)).toEqual([old.path, recent.path]);
    expect(runs[0].modified.getTime()).toBeGreaterThan(past.getTime());
  });
});
