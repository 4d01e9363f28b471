/** Training a document classifier in one process: what decides it, what it leaves, and what it never looks at. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import '../../src/autograd/methods.js';
import { HostRandom } from '../../src/data/random.js';
import { readSafetensorsFile } from '../../src/data/safetensors-file.js';
import { GPT2Tokenizer } from '../../src/data/tokenizer.js';
import { ChunkClassifier } from '../../src/models/chunk-classifier.js';
import { GPT2 } from '../../src/models/gpt2.js';
import { gpt2Config } from '../../src/models/gpt2-config.js';
import { saveGPT2 } from '../../src/models/gpt2-weights.js';
import { cpuDevice, setDefaultDevice } from '../../src/tensor/default-device.js';
import { manualSeed } from '../../src/tensor/random.js';
import { bestThreshold, prAuc } from '../../src/train/classification-metrics.js';
import { openClassifier, readClassifyRun } from '../../src/train/classifier-run.js';
import { prepareClassify } from '../../src/train/classify.js';
import { CLASSIFY } from '../../src/train/classify-config.js';
import type { ClassifyHooks, ClassifyJob } from '../../src/train/classify-job.js';
import { classifyMemory } from '../../src/train/classify-memory.js';
import type { ClassifyResult, PredictionLine } from '../../src/train/classify-types.js';
import { RunFolder } from '../../src/train/run-folder.js';
import { BEST, LAST, type TrainResult } from '../../src/train/trainer.js';

const device = cpuDevice();
let folder: string;
let data: string;
let base: string;

interface Row {
  readonly id: string;
  readonly group: string;
  readonly title: string;
  readonly text: string;
  readonly label: number;
  readonly part: string;
}

/** Documents of 3 to 50 words; in those of class 1 'zebra' is planted somewhere. */
function rows(): Row[] {
  const random = new HostRandom(1);
  const words = 'the king said that he would go to town and see what was there'.split(' ');
  return Array.from({ length: 48 }, (_, i) => {
    const label = i % 3 === 0 ? 1 : 0;
    const text = Array.from({ length: 3 + random.integer(48) }, () => words[random.integer(words.length)]);
    if (label === 1) text.splice(random.integer(text.length), 0, 'zebra');
    const part = ['train', 'train', 'validation', 'test'][Math.floor(i / 6) % 4];
    return { id: `d${i}`, group: `g${i >> 1}`, title: `Title ${i}`, text: text.join(' '), label, part };
  });
}

const write = async (name: string, some: readonly Row[]): Promise<string> => {
  const path = join(folder, name);
  await writeFile(path, some.map((row) => JSON.stringify(row)).join('\n'));
  return path;
};

beforeAll(async () => {
  setDefaultDevice(device);
  folder = await mkdtemp(join(tmpdir(), 'dawngrad-classify-'));
  process.env.DAWNGRAD_CACHE = join(folder, 'cache');
  data = await write('documents.jsonl', rows());
  base = join(folder, 'base');
  manualSeed(1);
  const model = new GPT2(
    gpt2Config('nano', { layers: 1, dim: 8, heads: 2, contextLength: 16, vocabSize: 300 }),
  );
  await saveGPT2(base, model, new GPT2Tokenizer({ size: 300 }));
});
afterAll(async () => {
  delete process.env.DAWNGRAD_CACHE;
  setDefaultDevice(null);
  await rm(folder, { recursive: true, force: true });
});

const TINY = {
  vocabSize: 270,
  dim: 8,
  heads: 2,
  layers: 1,
  chunk: 8,
  overlap: 2,
  batchSize: 5,
  steps: 8,
  evaluateEvery: 4,
  lr: 1e-2,
  bootstrap: 20,
  baselines: ['prior'],
  twins: false,
};

interface Outcome {
  readonly run: RunFolder;
  readonly trained: TrainResult;
  readonly result: ClassifyResult;
}

async function makeJob(flags: Record<string, unknown>, hooks: ClassifyHooks = {}): Promise<ClassifyJob> {
  const config = await CLASSIFY.read({ flags: { data: [data], ...TINY, ...flags } });
  const setup = await prepareClassify(config, device, hooks);
  return await setup.openJob(setup.data.divisions[0]);
}

/** What the command does, without its words. */
async function train(
  name: string,
  flags: Record<string, unknown> = {},
  hooks: ClassifyHooks = {},
): Promise<Outcome> {
  const job = await makeJob(flags, hooks);
  const run = await RunFolder.create(folder, name, job.record());
  await job.begin(run);
  return await end(job, run);
}

async function end(job: ClassifyJob, run: RunFolder): Promise<Outcome> {
  const trained = await job.trainer.train();
  const result = trained.stopped === 'interrupted' ? (null as never) : await job.finish(run, trained);
  run.close();
  job.data.tokens.close();
  return { run, trained, result };
}

async function resume(path: string): Promise<Outcome> {
  const run = await RunFolder.open(path);
  const { config } = readClassifyRun(run);
  const setup = await prepareClassify(config, device);
  const job = await setup.openJob(setup.data.divisions[0]);
  await job.resume(run);
  return await end(job, run);
}

const predictions = async (run: RunFolder): Promise<PredictionLine[]> =>
  (await readFile(run.file('predictions.jsonl'), 'utf8'))
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as PredictionLine);

async function weights(run: RunFolder, file: string): Promise<Record<string, string>> {
  const { tensors } = await readSafetensorsFile(run.file(file));
  return Object.fromEntries([...tensors].map(([name, t]) => [name, Buffer.from(t.data).toString('base64')]));
}

async function expectSameRun(a: RunFolder, b: RunFolder): Promise<void> {
  const metrics = async (r: RunFolder) =>
    (await r.readMetrics()).map(({ tokensPerSecond: _, ...line }) => JSON.stringify(line));
  expect(await metrics(b)).toEqual(await metrics(a));
  for (const file of [LAST, BEST]) expect(await weights(b, file)).toEqual(await weights(a, file));
  expect(await predictions(b)).toEqual(await predictions(a));
  const result = async (r: RunFolder) => ({
    ...(JSON.parse(await readFile(r.file('result.json'), 'utf8')) as ClassifyResult),
    seconds: 0,
  });
  expect(await result(b)).toEqual(await result(a));
}

describe('a run of the classifier', () => {
  it('leaves figures, predictions, a report, and a model that judges as it did', async () => {
    const { run, result, trained } = await train('whole', { baselines: ['prior', 'bow'] });
    expect(trained.step).toBe(8);
    const evaluations = (await run.readMetrics()).filter((line) => 'validation' in line);
    expect(evaluations.map(({ step }) => step)).toEqual([4, 8]);
    for (const line of evaluations) {
      for (const name of ['validation', 'prAuc', 'rocAuc']) expect(line[name]).toEqual(expect.any(Number));
    }
    expect(result.test.map(({ name }) => name)).toEqual(['bag of words', 'this model', 'prior']);
    expect(result.test[1].against).not.toBeNull();
    const { train: learnt, validation, test } = result.parts;
    expect(learnt.documents + validation.documents + test.documents).toBe(48);
    const lines = await predictions(run);
    expect(lines).toHaveLength(48);
    expect(lines[0]).toEqual({
      id: 'd0',
      group: 'g0',
      title: 'Title 0',
      split: expect.stringMatching(/train|validation|test/),
      label: 1,
      characters: rows()[0].text.length,
      probability: expect.any(Number),
      prior: learnt.positives / learnt.documents,
      bow: expect.any(Number),
    });
    const html = await readFile(run.file('report.html'), 'utf8');
    for (const text of ['<h2>Metrics</h2>', 'bag of words', 'Calibration', 'thresholdMetric'])
      expect(html).toContain(text);
    expect(html).not.toContain('<script');

    const opened = await openClassifier(run.path, device);
    expect(opened.threshold).toBe(result.threshold);
    expect(opened.model.training).toBe(false);
    for (const line of [lines[0], lines[17]]) {
      const text = rows().find(({ id }) => id === line.id)!.text;
      const [p] = await opened.probabilities([opened.tokenizer.encode(text)]);
      expect(p).toBeCloseTo(line.probability, 6);
    }
    const [explained] = (await opened.classifier.explain([opened.tokenizer.encode(rows()[0].text)]))!;
    expect(explained.probability).toBeCloseTo(lines[0].probability, 6);
  }, 120_000);

  it('goes on after an interruption as if there had been none, bit for bit', async () => {
    const flags = { dropout: 0.2, sampled: 2, imbalance: 'balanced', checkpointEvery: 3 };
    const whole = await train('in-one', flags);
    const cut = await train('in-parts', flags, { stopAt: 5 });
    expect(cut.trained).toMatchObject({ step: 5, stopped: 'interrupted' });
    await resume(cut.run.path);
    await expectSameRun(whole.run, cut.run);
    await expect(resume(cut.run.path)).rejects.toThrow('which has finished');
    // Killed after the last step, before the test was read: the model is what it was.
    await rm(whole.run.file('result.json'));
    await resume(whole.run.path);
    await expectSameRun(whole.run, cut.run);
  }, 120_000);

  it('refuses to go on with other documents', async () => {
    const path = await write('changing.jsonl', rows());
    const { run } = await train('changed', { data: [path], steps: 2 }, { stopAt: 1 });
    await write(
      'changing.jsonl',
      rows().map((row, i) => (i === 7 ? { ...row, text: 'other words' } : row)),
    );
    await expect(resume(run.path)).rejects.toThrow(
      'expected the documents and splits that the run began with',
    );
  }, 60_000);
});

describe('what decides', () => {
  const split = { split: 'part', baselines: ['prior', 'bow'] };

  it('is never the test: threshold, weights and choices are the same whatever it holds', async () => {
    const plain = await train('plain', split);
    const other = rows().map((row, i) =>
      row.part === 'test' ? { ...row, label: 1 - row.label, text: `quite another text ${i} zebra` } : row,
    );
    const twisted = await train('twisted', { ...split, data: [await write('twisted.jsonl', other)] });
    expect(twisted.result.thresholds).toEqual(plain.result.thresholds);
    expect(twisted.result.validation).toEqual(plain.result.validation);
    expect(twisted.result.baselines).toEqual(plain.result.baselines);
    expect(await weights(twisted.run, BEST)).toEqual(await weights(plain.run, BEST));
    expect(twisted.result.test).not.toEqual(plain.result.test);

    // It is the best threshold of validation, by the probabilities that were written down.
    const lines = (await predictions(plain.run)).filter((line) => line.split === 'validation');
    const { threshold } = bestThreshold(
      lines.map(({ probability }) => probability),
      lines.map(({ label }) => label),
    );
    expect(plain.result.threshold).toBe(threshold);
  }, 120_000);

  it('is not the validation either, where weights are learnt and classes are weighed', async () => {
    const flags = { split: 'part', imbalance: 'posWeight' };
    const plain = await train('weighed', flags);
    const other = rows().map((row) => (row.part === 'validation' ? { ...row, label: 1 - row.label } : row));
    const twisted = await train('weighed', { ...flags, data: [await write('validation.jsonl', other)] });
    expect(twisted.result.posWeight).toBe(plain.result.posWeight);
    const last = await weights(plain.run, LAST);
    const model = Object.keys(last).filter((name) => name.startsWith('model.'));
    const again = await weights(twisted.run, LAST);
    for (const name of model) expect(again[name], name).toBe(last[name]);
    expect(model.length).toBeGreaterThan(5);
  }, 120_000);

  it('is the PR-AUC of validation for the weights kept and for stopping early', async () => {
    const { run, trained, result } = await train('early', {
      evaluateEvery: 1,
      patience: 2,
      steps: 40,
      lr: 3e-2,
    });
    const lines = (await run.readMetrics()).filter((line) => 'prAuc' in line);
    let best = { step: 0, prAuc: -Infinity, validation: Infinity };
    let since = 0;
    let stopped = 40;
    for (const { step, prAuc: value, validation } of lines as never as (typeof best)[]) {
      const isBetter = value > best.prAuc || (value === best.prAuc && validation < best.validation);
      if (isBetter) best = { step, prAuc: value, validation };
      since = isBetter ? 0 : since + 1;
      if (since >= 2) {
        stopped = step;
        break;
      }
    }
    expect(trained.step).toBe(stopped);
    expect(trained.stopped).toBe(stopped < 40 ? 'early stopping' : 'finished');
    expect(result.best).toEqual({ step: best.step, validation: best.validation, prAuc: best.prAuc });
    // The weights that are kept give this figure.
    const kept = (await predictions(run)).filter((line) => line.split === 'validation');
    const value = prAuc(
      kept.map(({ probability }) => probability),
      kept.map(({ label }) => label),
    );
    expect(value).toBeCloseTo(best.prAuc, 10);
    await rm(run.file('result.json'));
    expect((await resume(run.path)).trained).toMatchObject({ step: stopped, best: trained.best });
  }, 120_000);
});

describe('settings', () => {
  it('give a rare class what they say', async () => {
    const counts = (job: ClassifyJob) => job.parts.train;
    const weighed = await makeJob({ imbalance: 'posWeight' });
    const { documents, positives } = counts(weighed);
    expect(weighed.settings.posWeight).toBe((documents - positives) / positives);
    expect((await makeJob({ imbalance: 'posWeight', posWeight: 7 })).settings.posWeight).toBe(7);
    expect((await makeJob({})).settings.posWeight).toBe(1);
    // The loss of all three begins otherwise, on the same model and documents.
    const losses: number[] = [];
    for (const imbalance of ['none', 'posWeight', 'focal']) {
      const { run } = await train(imbalance, {
        imbalance,
        posWeight: imbalance === 'posWeight' ? 5 : null,
        steps: 1,
      });
      losses.push((await run.readMetrics())[0].loss as number);
    }
    expect(new Set(losses).size).toBe(3);
    expect(losses[2]).toBeLessThan(losses[0]);
  }, 120_000);

  it('build every encoder and pooling, which learn and come back from their folder', async () => {
    const kinds: Record<string, unknown>[] = [
      { encoder: 'encoder-decoder', pooling: 'transformer' },
      { encoder: 'window', window: 4, maxTokens: 40 },
      { encoder: 'transformer', chunkState: 'first', pooling: 'decoder', maxChunks: 3, keep: 'headTail' },
      { encoder: 'gpt2', base, tune: 'frozen', pooling: 'max' },
      { encoder: 'gpt2', base, tune: 'lora', rank: 2, pooling: 'mean', chunkState: 'mean' },
      { encoder: 'gpt2', base, tune: 'full' },
    ];
    for (const kind of kinds) {
      const name = Object.values({ ...kind, base: 'x' })
        .join(' ')
        .replace(/[^a-z0-9 ]/gi, '');
      const { run, result } = await train(name, { ...kind, steps: 2, evaluateEvery: 1 });
      const opened = await openClassifier(run.path, device);
      const [line] = await predictions(run);
      const [p] = await opened.probabilities([opened.tokenizer.encode(rows()[0].text)]);
      expect(p, name).toBeCloseTo(line.probability, 6);
      const { total, trainable } = result.parameters;
      const isPartly = kind.tune === 'frozen' || kind.tune === 'lora';
      expect(trainable < total, name).toBe(isPartly);
      const saved = Object.keys(await weights(run, BEST));
      if (kind.tune === 'frozen')
        expect(
          saved.some((n) => n.startsWith('encoder.')),
          name,
        ).toBe(false);
      if (kind.tune === 'lora') {
        expect(
          saved.filter((n) => n.startsWith('encoder.')).every((n) => n.includes('lora_')),
          name,
        ).toBe(true);
      }
      if (opened.model instanceof ChunkClassifier)
        expect(opened.model.options.pooling).toBe(kind.pooling ?? 'attention');
    }
  }, 240_000);

  it('are refused where the model or the tokenizer cannot do it', async () => {
    await expect(makeJob({ encoder: 'gpt2', base, chunk: 32 })).rejects.toThrow(
      /expected a chunk of at most 16 tokens, which .*base reads, got 32; lower chunk/,
    );
    await expect(makeJob({ label: 'genre' })).rejects.toThrow('expected a column genre');
    const long = join(folder, 'long.jsonl');
    const texts = Array.from({ length: 12 }, (_, i) => (i === 7 ? 'sun '.repeat(5000) : `rain ${i}`));
    await writeFile(
      long,
      texts.map((text, i) => JSON.stringify({ id: `d${i}`, text, label: i % 2 })).join('\n'),
    );
    // Wherever it is put: a test document would be read only when all training is done.
    for (const splitSeed of [0, 1, 2]) {
      await expect(
        makeJob({ data: [long], splitSeed, chunk: 2, overlap: 0, pooling: 'transformer', twins: false }),
      ).rejects.toThrow(
        /at most 4096 chunks beside pooling 'transformer', got \d+ chunks of d7; raise chunk/,
      );
    }
    await expect(makeJob({ positive: ['nothing'] })).rejects.toThrow(
      'expected documents of both classes in the documents, got 48 of class 0 and 0 of class 1',
    );
    const { run } = await train('tokens', { steps: 1 });
    await run.writeJson('tokenizer.json', { type: 'gpt2', size: 400 });
    await expect(openClassifier(run.path, device)).rejects.toThrow(
      'expected a tokenizer of 270 ids, as vocabSize has it, got one of 400',
    );
    await rm(run.file('result.json'));
    await expect(openClassifier(run.path, device)).rejects.toThrow('expected a finished run');
    const foreign = await RunFolder.create(folder, 'foreign', { steps: 3 });
    await expect(openClassifier(foreign.path, device)).rejects.toThrow('which another command made');
  }, 60_000);

  it('tell the memory of a step, which grows with the group of chunks and not with the document', async () => {
    const peak = async (flags: Record<string, unknown>): Promise<number> =>
      classifyMemory(await makeJob({ batchSize: 1, ...flags })).peakBytes;
    expect(await peak({ chunkGroup: 1 })).toBeLessThan(await peak({ chunkGroup: 6 }));
    const job = await makeJob({ batchSize: 3 });
    const { longest, documents } = classifyMemory(job);
    expect(documents).toBe(3);
    expect(longest).toBe(Math.max(...job.division.parts.train.map((i) => job.data.tokens.counts[i])));
  }, 60_000);
});
