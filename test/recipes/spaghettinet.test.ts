/** The recipe `spaghettinet`: its data, its networks, and a tiny setting from end to end, as a user runs it. */
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadDataset, Missing, moons, spirals, split } from '../../recipes/spaghettinet/data.js';
import { graphSvg } from '../../recipes/spaghettinet/draw.js';
import { interval, SHARES, tolerance, train } from '../../recipes/spaghettinet/experiment.js';
import { build, denseParameters, KINDS, widthFor } from '../../recipes/spaghettinet/models.js';
import { timeWidths } from '../../recipes/spaghettinet/timing.js';
import { cpuDevice, DataError, data, manualSeed, nn, noGrad, randn } from '../../src/index.js';
import { runRecipe } from '../support/recipe.js';

const TITANIC = fileURLToPath(new URL('../../../shared/data/titanic.csv', import.meta.url));
const PATHS = { titanic: TITANIC, fashion: null };
const SHAPE = { units: 16, wiresPerUnit: 4, propagation: 2 };
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'dawngrad-spaghettinet-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const recipe = (...args: string[]) => runRecipe('spaghettinet/main.ts', folder, args);

describe('the data', () => {
  it('lies where it should', () => {
    const random = new data.HostRandom(1);
    const two = moons(400, random);
    expect([...two.y].filter((c) => c === 1)).toHaveLength(200);
    // The first moon is the upper half of a circle around 0, up to noise.
    const radii = [...two.y].flatMap((c, i) => (c === 0 ? [Math.hypot(two.x[2 * i], two.x[2 * i + 1])] : []));
    expect(radii.reduce((a, b) => a + b, 0) / 200).toBeCloseTo(1, 1);
    const three = spirals(600, random);
    // Turned back by what its radius says, every point lies at the angle of its arm.
    let near = 0;
    for (let i = 0; i < 600; i++) {
      const [x, y] = [three.x[2 * i], three.x[2 * i + 1]];
      const turn = 1.5 * ((Math.hypot(x, y) - 0.1) / 0.9);
      const off = Math.atan2(y, x) / (2 * Math.PI) - turn - three.y[i] / 3;
      if (Math.abs(off - Math.round(off)) < 1 / 6) near++;
    }
    expect(near).toBeGreaterThan(570);
  });

  it('has mean 0 and variance 1 in training, and is the same for the same seed', async () => {
    const one = await loadDataset('moons', 3, PATHS);
    const mean = one.train.x.reduce((a, b) => a + b, 0) / one.train.x.length;
    const square = one.train.x.reduce((a, b) => a + b * b, 0) / one.train.x.length;
    expect(mean).toBeCloseTo(0, 5);
    expect(square).toBeCloseTo(1, 5);
    expect(await loadDataset('moons', 3, PATHS)).toEqual(one);
    expect((await loadDataset('moons', 4, PATHS)).train.x).not.toEqual(one.train.x);
  });

  it('is split with the classes in the same proportions', () => {
    const labels = Array.from({ length: 200 }, (_, i) => Number(i % 4 === 0));
    const parts = split(labels, new data.HostRandom(1));
    expect(parts.map((part) => part.length)).toEqual([120, 40, 40]);
    expect(parts.map((part) => part.filter((i) => labels[i] === 1).length)).toEqual([30, 10, 10]);
    expect(new Set(parts.flat()).size).toBe(200);
  });

  it.skipIf(!existsSync(TITANIC))(
    'reads the passengers (skipped where there is no titanic.csv)',
    async () => {
      const set = await loadDataset('titanic', 1, PATHS);
      expect([set.width, set.classes]).toEqual([10, 2]);
      expect(set.train.y.length + set.validation.y.length + set.test.y.length).toBe(891);
      expect(set.train.x.every(Number.isFinite)).toBe(true);
      const survived = set.train.y.reduce((a, b) => a + b, 0) / set.train.y.length;
      expect(survived).toBeCloseTo(342 / 891, 2);
    },
  );

  it("reads Fashion-MNIST's files, and says what is missing", async () => {
    const fashion = join(folder, 'fashion');
    await mkdir(fashion);
    const idx = (dims: number[], values: number[]) =>
      Buffer.concat([
        Buffer.from([0, 0, 8, dims.length]),
        ...dims.map((d) => Buffer.from([0, 0, d >> 8, d & 255])),
        Buffer.from(values),
      ]);
    for (const [name, count] of [
      ['train', 12],
      ['t10k', 5],
    ] as const) {
      const pixels = Array.from({ length: count * 4 }, (_, i) => (i * 37) % 256);
      await writeFile(join(fashion, `${name}-images-idx3-ubyte.gz`), gzipSync(idx([count, 2, 2], pixels)));
      const labels = Array.from({ length: count }, (_, i) => i % 10);
      await writeFile(join(fashion, `${name}-labels-idx1-ubyte`), idx([count], labels));
    }
    const set = await loadDataset('fashion', 1, { ...PATHS, fashion });
    expect([set.width, set.classes]).toEqual([4, 10]);
    expect([set.train.y.length, set.validation.y.length, set.test.y.length]).toEqual([10, 2, 5]);
    expect([...set.test.y]).toEqual([0, 1, 2, 3, 4]);
    await expect(loadDataset('fashion', 1, { ...PATHS, fashion: folder })).rejects.toThrow(
      `no train-images-idx3-ubyte or train-images-idx3-ubyte.gz in ${folder}`,
    );
    await expect(loadDataset('titanic', 1, { ...PATHS, titanic: 'nowhere.csv' })).rejects.toThrow(Missing);
    const broken = async (name: string, bytes: Buffer) => {
      const file = join(fashion, name);
      const kept = await readFile(file);
      await writeFile(file, bytes);
      const error: Error = await loadDataset('fashion', 1, { ...PATHS, fashion }).catch((e) => e);
      await writeFile(file, kept);
      expect(error).toBeInstanceOf(DataError);
      return error.message;
    };
    const labels = 'train-labels-idx1-ubyte';
    for (const bytes of [Buffer.alloc(0), Buffer.from([0, 0, 8, 3, 0]), idx([12], [1, 2])])
      expect(await broken(labels, bytes)).toContain('expected bytes in the IDX format, got another file');
    expect(await broken(labels, idx([3], [1, 2, 3]))).toContain('got 12 and 3 up to 3');
    expect(await broken(labels, idx([12], new Array(12).fill(10)))).toContain('got 12 and 12 up to 10');
    expect(await broken('t10k-images-idx3-ubyte.gz', Buffer.from('no gzip'))).toContain(
      'fashion: cannot read ',
    );
  });

  it('refuses passengers that it cannot learn from', async () => {
    const header = 'Survived,Pclass,Name,Sex,Age,SibSp,Parch,Fare,Embarked';
    const rows = Array.from({ length: 12 }, (_, i) => `${i % 2},3,A,male,,0,0,7,S`);
    const load = async (...lines: string[]) => {
      const titanic = join(folder, 'few.csv');
      await writeFile(titanic, lines.join('\n'));
      return loadDataset('titanic', 1, { ...PATHS, titanic });
    };
    // Nobody's age is known.
    expect((await load(header, ...rows)).train.x.every(Number.isFinite)).toBe(true);
    const refuse = (lines: string[], message: string) => expect(load(...lines)).rejects.toThrow(message);
    await refuse([header.replace('Sex', 'Shoes'), ...rows], 'expected the columns Sex in');
    await refuse([header, '7,3,A,male,,0,0,7,S', ...rows], 'column Survived in line 2 of');
    await refuse([header, '1,3,A,,,0,0,7,S', ...rows], 'expected the sex of passenger 1 in');
    await refuse([header, '1,3,A,male,,0,0,,S', ...rows], 'expected the fare of passenger 1 in');
    await refuse([header, ...rows.slice(0, 8)], 'got 4 who survived and 4 who drowned');
  });
});

describe('the networks', () => {
  it('have as many parameters, or the same width', () => {
    const nets = KINDS.map((kind) => build(kind, [2, 3], { ...SHAPE, units: 64 }, 1, cpuDevice()));
    const [spaghetti, two, equal, wide] = nets;
    expect(Math.abs(equal.parameters / spaghetti.parameters - 1)).toBeLessThan(0.05);
    expect(Math.abs(two.parameters / spaghetti.parameters - 1)).toBeLessThan(0.2);
    expect(wide.parameters).toBe(denseParameters(2, 3, 64));
    expect(denseParameters(2, 3, widthFor(500, 2, 3))).toBeLessThan(530);
    for (const { model, parameters } of nets) expect(model.numParameters()).toBe(parameters);
    // Wires count once per step that uses them.
    expect(spaghetti.operations).toBe(2 * (2 * 32 + 2 * 64 * 4 + 3 * 32));
    expect(wide.operations).toBe(2 * wide.wires);
  });

  it.each(KINDS)('%s: cut wires change what it says, and are mended exactly', async (kind) => {
    manualSeed(1);
    const net = build(kind, [2, 3], SHAPE, 1, cpuDevice());
    const x = randn([20, 2]);
    const say = async () => noGrad(() => net.model.forward(x)).data();
    const whole = await say();
    const mend = await net.cut(0.5, 3);
    expect(await say()).not.toEqual(whole);
    mend();
    expect(await say()).toEqual(whole);
    const all = await net.cut(1, 3);
    // Only biases are left: every example gets the same scores.
    const scores = await say();
    expect([...scores.slice(0, 3)]).toEqual([...scores.slice(57)]);
    all();
  });

  it('learn, and the same seed gives the same numbers', async () => {
    const set = await loadDataset('moons', 1, PATHS);
    const settings = {
      ...PATHS,
      ...SHAPE,
      datasets: [],
      kinds: KINDS,
      seeds: 2,
      seed: 1,
      steps: 80,
      batchSize: 32,
      rates: [0.02],
      cuts: 1,
    };
    const run = async (seed: number) =>
      (await train('spaghetti', set, settings, seed, 0.02, cpuDevice())).test;
    const first = await run(1);
    expect(first).toBeGreaterThan(0.8);
    expect(await run(1)).toBe(first);
  });

  it('are drawn: every unit, every wire, blue or orange', async () => {
    manualSeed(2);
    const net = new nn.SpaghettiNet(2, 20, 3, { wiresPerUnit: 3, seed: 1 });
    const svg = await graphSvg(net, 'A <test>');
    expect(svg).toContain('A &lt;test&gt;');
    expect(svg.match(/<circle/g)).toHaveLength(20 + 2 + 3);
    expect(svg.match(/Q/g)).toHaveLength(60);
    expect(svg.match(/M\d+ \d+L/g)).toHaveLength(10 * 2 + 3 * 10);
    expect(svg).toMatch(/class="wire p w2"/);
    expect(svg).toMatch(/class="wire n w2"/);
    expect(svg).not.toContain('NaN');
  });

  it('cost by wires: the operations of a sparse layer grow with the width, those of a dense one with its square', async () => {
    const [sparse, dense, sparse2, dense2] = await timeWidths([32, 64], 4, 8, cpuDevice());
    expect(sparse2.wires / sparse.wires).toBeLessThan(2.01);
    expect(sparse2.operations / sparse.operations).toBeLessThan(2.01);
    expect(dense2.operations / dense.operations).toBeGreaterThan(2.5);
    expect([sparse.ms, dense.ms].every((ms) => ms > 0)).toBe(true);
  });
});

describe('the figures', () => {
  it('have the mean and its interval by t', () => {
    const { mean, half } = interval([1, 2, 3, 4, 5]);
    expect(mean).toBe(3);
    // 2.776 · √2.5 / √5
    expect(half).toBeCloseTo(1.963, 3);
    expect(interval([1]).half).toBeNaN();
  });

  it('say how much can be cut until five points are lost', () => {
    const result = (means: number[]) =>
      ({ cut: SHARES.map((_, i) => [means[Math.min(i, means.length - 1)]]) }) as never;
    // From 0.9 at 5 % to 0.8 at 10 %: 0.85 halfway.
    expect(tolerance(result([0.9, 0.9, 0.8]))).toBeCloseTo(0.075, 9);
    expect(tolerance(result([0.9]))).toBe(SHARES[SHARES.length - 1]);
  });
});

describe('the command', () => {
  it('compares all networks at a tiny size, and leaves results and pictures', async () => {
    const small =
      '--units 16 --wires-per-unit 4 --propagation 2 --steps 60 --batch-size 32 --seeds 2 --cuts 1';
    const { code, out, err } = await recipe(
      '--quick',
      ...small.split(' '),
      ...[
        '--datasets',
        'moons',
        'titanic',
        '--rates',
        '0.01',
        '0.03',
        '--titanic',
        'nowhere.csv',
        '--out',
        'out',
      ],
    );
    expect(err).toBe('');
    expect(code).toBe(0);
    expect(out).toContain('titanic: skipped, no nowhere.csv; give the file with --titanic');
    expect((await readdir(join(folder, 'out'))).sort()).toEqual([
      'cut-moons.svg',
      'graph.svg',
      'result.json',
    ]);
    const { results, skipped, config } = JSON.parse(
      await readFile(join(folder, 'out', 'result.json'), 'utf8'),
    );
    expect(config).toMatchObject({ units: 16, steps: 60, seed: 1 });
    expect(skipped).toHaveLength(1);
    const [{ kinds, majority, examples }] = results;
    expect(majority).toBeCloseTo(0.5, 6);
    expect(examples).toEqual([500, 250, 1000]);
    expect(kinds.map((k: { kind: string }) => k.kind)).toEqual(KINDS);
    for (const { accuracy, cut, rate } of kinds) {
      expect([0.01, 0.03]).toContain(rate);
      expect(accuracy).toHaveLength(2);
      // Guessing is right half the time.
      expect(Math.min(...accuracy)).toBeGreaterThan(0.7);
      expect(cut).toHaveLength(SHARES.length);
      expect(cut[0]).toEqual(accuracy);
      const last = interval(cut[SHARES.length - 1]).mean;
      expect(last).toBeLessThan(interval(accuracy).mean);
      expect(out).toContain(`${(100 * interval(accuracy).mean).toFixed(1)} ±`);
    }
    for (const name of ['cut-moons.svg', 'graph.svg']) {
      const svg = await readFile(join(folder, 'out', name), 'utf8');
      expect(svg).toMatch(/^<svg [^>]*>/);
      expect(svg.length).toBeLessThan(60_000);
      expect(svg).not.toContain('NaN');
    }
  });

  it('explains itself, and says what is wrong', async () => {
    const help = await recipe('--help');
    expect(help.code).toBe(0);
    for (const flag of ['--quick', '--timing', '--seed ', '--wires-per-unit', '--titanic', '--fashion']) {
      expect(help.out).toContain(flag);
    }
    const wrong = await recipe('--steps', 'many');
    expect(wrong.code).toBe(1);
    expect(wrong.err).toContain(
      'recipe:spaghettinet: spaghettinet: expected steps to be a number, got "many"',
    );
    await writeFile(join(folder, 'taken'), '');
    const taken = await recipe('--out', 'taken', '--datasets', 'moons');
    expect(taken.code).toBe(1);
    expect(taken.err).toContain('recipe:spaghettinet: spaghettinet: cannot make the folder taken: EEXIST');
    expect(taken.err).not.toContain(' at ');
  });
});
