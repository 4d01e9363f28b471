/** Fine-tuning in one process: what it trains, what it leaves, and that interruptions change no bit. */
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import '../../src/autograd/methods.js';
import { readSafetensorsFile } from '../../src/data/safetensors-file.js';
import { GPT2Tokenizer } from '../../src/data/tokenizer.js';
import { DataError, GradError } from '../../src/device/errors.js';
import { loadGPT2, saveGPT2 } from '../../src/models/gpt2-weights.js';
import { cpuDevice, setDefaultDevice } from '../../src/tensor/default-device.js';
import { loadAdapter } from '../../src/train/adapter.js';
import { BEST_WEIGHTS, configOfRun, type FinetuneHooks, prepareFinetune } from '../../src/train/finetune.js';
import { FINETUNE } from '../../src/train/finetune-config.js';
import type { FinetuneResult } from '../../src/train/finetune-types.js';
import { measuredPart, readTextData, samplePrompts, tokenizePart } from '../../src/train/finetune-data.js';
import { RunFolder } from '../../src/train/run-folder.js';
import { LAST } from '../../src/train/trainer.js';

const device = cpuDevice();
let folder: string;
let advice: string;
let base: string;

const TINY = { model: 'scratch', vocabSize: 300, layers: 1, dim: 16, heads: 2, context: 64, blockSize: 16 };
const SHORT = {
  batchSize: 2,
  steps: 12,
  evaluateEvery: 6,
  checkpointEvery: 3,
  sampleLength: 8,
  evaluationTokens: 256,
};

beforeAll(async () => {
  setDefaultDevice(device);
  folder = await mkdtemp(join(tmpdir(), 'dawngrad-finetune-'));
  advice = join(folder, 'advice.jsonl');
  const rows = Array.from({ length: 60 }, (_, i) => ({
    question: `Why ${['sad', 'late', 'ill', 'mad'][i % 4]} ${i}?`,
    answer: `Ask ${['her', 'him', 'them'][i % 3]} ${['soon', 'now'][i % 2]}.`,
    split: i % 6 === 5 ? 'val' : i % 20 === 1 ? 'test' : 'train',
  }));
  await writeFile(advice, rows.map((row) => JSON.stringify(row)).join('\n'));
  base = (await run('base', { ...TINY, steps: 30, lr: 1e-2 })).run.path;
});
afterAll(async () => {
  setDefaultDevice(null);
  await rm(folder, { recursive: true, force: true });
});

interface Outcome {
  readonly run: RunFolder;
  readonly stopped: string;
  readonly result: FinetuneResult | null;
}

/** What the command does, without its words. */
async function run(
  name: string,
  flags: Record<string, unknown>,
  hooks: FinetuneHooks = {},
): Promise<Outcome> {
  const config = await FINETUNE.read({ flags: { data: [advice], ...SHORT, ...flags } });
  const job = await prepareFinetune(config, device, hooks);
  const checked = await job.check();
  const folderOfRun = await RunFolder.create(folder, name, job.record());
  const beginning = { ...checked, ...(await job.sample()) };
  await job.begin(folderOfRun, beginning);
  const trained = await job.train(beginning);
  const done = trained.stopped !== 'interrupted';
  const result = done ? await job.finish(folderOfRun, trained, beginning) : null;
  folderOfRun.close();
  return { run: folderOfRun, stopped: trained.stopped, result };
}

async function resume(path: string): Promise<FinetuneResult> {
  const old = await RunFolder.open(path);
  const job = await prepareFinetune(configOfRun(old), device);
  const beginning = await job.resume(old);
  const trained = await job.train(beginning!);
  const result = await job.finish(old, trained, beginning);
  old.close();
  return result;
}

/** Everything but times. */
async function expectSameRun(a: RunFolder, b: RunFolder): Promise<void> {
  const metrics = async (r: RunFolder) =>
    (await r.readMetrics()).map(({ tokensPerSecond: _, ...line }) => JSON.stringify(line));
  expect(await metrics(b)).toEqual(await metrics(a));
  const files = [LAST, BEST_WEIGHTS];
  for (const part of ['model', 'adapter']) {
    if (!existsSync(a.file(part))) continue;
    const names = (await readdir(a.file(part))).sort();
    expect((await readdir(b.file(part))).sort()).toEqual(names);
    for (const name of names.filter((n) => n.endsWith('.safetensors'))) files.push(join(part, name));
  }
  for (const file of files) {
    const [x, y] = await Promise.all([readSafetensorsFile(a.file(file)), readSafetensorsFile(b.file(file))]);
    expect([...y.tensors.keys()]).toEqual([...x.tensors.keys()]);
    for (const [name, t] of x.tensors) expect(y.tensors.get(name)!.data, `${file}: ${name}`).toEqual(t.data);
  }
}

/** Trains in one go, and again with an interruption after `at` steps. */
async function expectResumable(flags: Record<string, unknown>, at: number): Promise<RunFolder> {
  const whole = await run('whole', flags);
  const controller = new AbortController();
  const cut = await run('cut', flags, {
    signal: controller.signal,
    onProgress: ({ step }) => step >= at && controller.abort(),
  });
  expect(cut.stopped).toBe('interrupted');
  expect((await readSafetensorsFile(cut.run.file(LAST))).metadata.progress).toContain(`"step":${at},`);
  // As a kill in the middle of a write would leave it.
  await writeFile(cut.run.file('.last.safetensors.0123456789ab.tmp'), 'half');
  const resumed = await resume(cut.run.path);
  expect((await readdir(cut.run.path)).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  expect({ ...resumed, seconds: 0 }).toEqual({ ...whole.result, seconds: 0 });
  await expectSameRun(whole.run, cut.run);
  return whole.run;
}

describe('a run', () => {
  it('of 2k steps is one of k steps, interrupted and resumed, bit for bit, with dropout and accumulation', async () => {
    await expectResumable({ ...TINY, dropout: 0.1, accumulate: 2 }, 6);
  });

  it('of LoRA too, whose checkpoints hold the adapters alone', async () => {
    const flags = {
      model: base,
      method: 'lora',
      rank: 2,
      alpha: 4,
      loraDropout: 0.1,
      dropout: 0.1,
      accumulate: 2,
    };
    const { path } = await expectResumable({ ...flags, blockSize: 16 }, 3);
    const last = await readSafetensorsFile(join(path, LAST));
    const names = [...last.tensors.keys()];
    const trained = names.filter((name) => name.startsWith('model.'));
    expect(trained).toHaveLength(2 * 4);
    expect(trained.every((name) => /lora_[AB]\.weight$/.test(name))).toBe(true);
    // Two moments and a step for each.
    expect(names.filter((name) => name.startsWith('optimizer.'))).toHaveLength(3 * 2 * 4);
    expect((await readdir(join(path, 'adapter'))).sort()).toEqual([
      'adapter_config.json',
      'adapter_model.safetensors',
    ]);
    const config = JSON.parse(await readFile(join(path, 'adapter', 'adapter_config.json'), 'utf8'));
    expect(config).toMatchObject({ base_model_name_or_path: base, r: 2, lora_alpha: 4 });
  });

  it('of QLoRA too, in both schemes', async () => {
    const flags = { model: base, method: 'qlora', rank: 2, blockSize: 16, loraDropout: 0.1 };
    await expectResumable({ ...flags, scheme: 'nf4' }, 6);
    const { result } = await run('int8', { ...flags, scheme: 'int8', steps: 4 });
    expect(result!.parameters.share).toBeLessThan(0.2);
    const float = await run('float', { ...flags, method: 'lora', steps: 1 });
    expect(result!.parameters.bytes).toBeLessThan(0.6 * float.result!.parameters.bytes);
  });

  it('leaves a model that loads, better than counts of nothing, and a record of it all', async () => {
    const { run: folderOfRun, result } = await run('record', {
      ...TINY,
      blockSize: 64,
      lr: 1e-2,
      steps: 40,
      answersOnly: true,
    });
    const { model, tokenizer } = await loadGPT2(folderOfRun.file('model'), { device });
    expect(tokenizer.size).toBe(300);
    expect(model.shape).toMatchObject({ vocabSize: 300, layers: 1, dim: 16, contextLength: 64 });
    const saved = JSON.parse(await readFile(folderOfRun.file('result.json'), 'utf8')) as FinetuneResult;
    expect(saved).toEqual(JSON.parse(JSON.stringify(result)));
    const [validation, test] = saved.heldOut;
    expect([validation.name, test.name]).toEqual(['validation', 'test']);
    expect(validation.after).toBeLessThan(validation.before! - 1);
    expect(validation.uniform).toBeCloseTo(Math.log(300), 10);
    expect(validation.bigram).toBeLessThan(validation.unigram);
    expect(saved.samples.before).toHaveLength(4);
    expect(saved.samples.after[0].prompt).toMatch(/^QUESTION: Why .*\n\nANSWER:$/s);
    expect(saved.statistics.after!.maxTokens).toBeLessThanOrEqual(8);
    expect(saved.findings).toEqual([]);
    const config = JSON.parse(await readFile(folderOfRun.file('config.json'), 'utf8'));
    expect(config).toMatchObject({
      model: 'scratch',
      answersOnly: true,
      resolved: { steps: 40, blockSize: 64 },
    });
    expect(await readFile(folderOfRun.file('loss.svg'), 'utf8')).toContain('bigram');
  });

  it('goes on from another: its model, or its adapter merged', async () => {
    const lora = await run('lora', { model: base, method: 'lora', rank: 2, blockSize: 16, lr: 1e-2 });
    const after = lora.result!.heldOut[0].after;
    const { result } = await run('merged', { model: lora.run.path, blockSize: 16, steps: 2 });
    expect(result!.heldOut[0].before).toBeCloseTo(after, 4);
    expect(result!.parameters.share).toBe(1);
    const twice = await run('twice', {
      model: lora.run.path,
      method: 'lora',
      rank: 1,
      blockSize: 16,
      steps: 2,
    });
    expect(twice.result!.heldOut[0].before).toBeCloseTo(after, 4);
    expect(await readFile(join(twice.run.path, 'adapter', 'adapter_config.json'), 'utf8')).toContain(
      lora.run.path,
    );
    // The base has not moved, and takes the adapter elsewhere.
    const { model } = await loadGPT2(join(base, 'model'), { device });
    expect((await loadAdapter(lora.run.file('adapter'), model)).modules.size).toBe(4);
  });

  it('learns from folders of texts, and of both kinds at once', async () => {
    const texts = join(folder, 'texts');
    await mkdir(texts);
    for (const name of ['a.txt', 'b.txt', 'notes.md']) {
      await writeFile(
        join(texts, name),
        `${name} begins.\n${'The sea is wide.\n'.repeat(30)}The end of ${name}.\n`,
      );
    }
    const { result } = await run('texts', { ...TINY, data: [texts, advice], lr: 1e-2, sampleLength: 4 });
    expect(result!.heldOut[0].after).toBeLessThan(result!.heldOut[0].uniform);
  });
});

describe('what is refused or said', () => {
  it('a finished run, other data, a run of another command', async () => {
    const finished = await run('finished', { ...TINY, steps: 2 });
    await expect(resume(finished.run.path)).rejects.toThrow('which has finished');
    const other = join(folder, 'other.jsonl');
    await writeFile(
      other,
      `${await readFile(advice, 'utf8')}\n{"question":"New?","answer":"Yes.","split":"train"}`,
    );
    const config = { ...(finished.run.config as object), data: [other] };
    const changed = await RunFolder.create(folder, 'changed', config);
    await expect(resume(changed.path)).rejects.toThrow(
      /expected the data that the run began with \(SHA-256 /,
    );
    const foreign = await RunFolder.create(folder, 'foreign', { text: null, layers: 2 });
    await expect(resume(foreign.path)).rejects.toThrow('which another command made');
  });

  it('blocks longer than the context, answers alone without answers, a model that is none', async () => {
    await expect(run('x', { ...TINY, blockSize: 65 })).rejects.toThrow(
      "expected a blockSize of at most 64, the model's context, got 65",
    );
    const samplePrompts = ['Short?', 'How long may one ask? '.repeat(20)];
    await expect(run('x', { ...TINY, samplePrompts })).rejects.toThrow(
      /expected samplePrompts of at most 64 tokens, the model's context, got \d+ in samplePrompts\[1\] \("QUESTION: How/,
    );
    await expect(run('x', { model: join(folder, 'nothing') })).rejects.toThrow(DataError);
    await expect(run('x', { ...TINY, data: [join(folder, 'none.txt')] })).rejects.toThrow(
      /cannot read the data/,
    );
    const trainOnly = join(folder, 'train-only.jsonl');
    await writeFile(trainOnly, '{"question":"New?","answer":"Yes.","split":"train"}');
    await expect(run('x', { ...TINY, data: [trainOnly] })).rejects.toThrow(
      'got none; give more, a larger validation share, or, where lines have a split, some of validation',
    );
    expect(existsSync(join(folder, 'x'))).toBe(false);
  });

  it('a trained model with weights in the wrong order, before training', async () => {
    const { model, tokenizer } = await loadGPT2(join(base, 'model'), { device });
    const rows = (await model.transformer.wte.weight.data()).slice() as Float32Array;
    const broken = join(folder, 'broken');
    const moved = new Float32Array(rows.length);
    for (let i = 0; i < 300; i++) moved.set(rows.subarray(i * 16, (i + 1) * 16), ((i * 7 + 3) % 300) * 16);
    device.write(model.transformer.wte.weight.buffer, moved);
    await saveGPT2(broken, model, tokenizer);
    const findings = async (path: string) => {
      const config = await FINETUNE.read({
        flags: { data: [advice], ...SHORT, blockSize: 16, model: path },
      });
      return (await (await prepareFinetune(config, device)).check()).findings.map(({ code }) => code);
    };
    expect(await findings(base)).toEqual([]);
    expect(await findings(broken)).toEqual(['start-too-high']);
  });

  it('a checkpoint that was never trained', async ({ skip }) => {
    const tiny = fileURLToPath(new URL('../../../shared/data/tiny-gpt2', import.meta.url));
    if (!existsSync(tiny)) skip('no ../shared/data/tiny-gpt2 on this machine');
    const flags = {
      data: [advice],
      ...SHORT,
      model: tiny,
      method: 'lora',
      targets: ['c_attn'],
      blockSize: 16,
    };
    const job = await prepareFinetune(await FINETUNE.read({ flags }), device);
    const { losses, findings } = await job.check();
    expect(losses.validation).toBeCloseTo(Math.log(50_257), 1);
    expect(findings.map(({ code }) => code)).toEqual(['start-too-high']);
  });

  it('a learning rate that diverges', async () => {
    const said: string[] = [];
    const wild = run(
      'wild',
      { ...TINY, lr: 10, warmup: 0, steps: 60, evaluateEvery: 60, checkpointEvery: 5 },
      {
        onFinding: ({ message }) => said.push(message),
      },
    );
    const error = await wild.then(
      () => null,
      (e: Error) => e,
    );
    if (error) expect(error).toBeInstanceOf(GradError);
    expect(said).toHaveLength(1);
    expect(said[0]).toContain('the learning rate 10 is ');
  });
});

describe('the data', () => {
  const tokenizer = new GPT2Tokenizer({ size: 300 });

  it('count answers and their ends alone where asked to', async () => {
    const { train } = await readTextData([advice], 0.1);
    const answers = tokenizePart(train, tokenizer, { answersOnly: true });
    const counted = answers.ids.filter((_, i) => answers.mask[i] === 1);
    expect(tokenizer.decode(counted.subarray(0, 12))).toMatch(/^ Ask her soon\.<\|endoftext\|>/);
    expect(answers.documents).toBe(train.pairs.length);
  });

  it('are measured at places spread evenly, always the same', async () => {
    const { train } = await readTextData([advice], 0.1);
    const all = tokenizePart(train, tokenizer, { answersOnly: true });
    const options = { batchSize: 2, blockSize: 16 };
    const whole = measuredPart(all, tokenizer, { ...options, limit: 0 });
    expect(whole.tokens).toBe(all.mask.subarray(1).reduce((n, m) => n + m, 0));
    const some = measuredPart(all, tokenizer, { ...options, limit: 60 });
    expect(some.tokens).toBeGreaterThan(40);
    expect(some.tokens).toBeLessThan(80);
    expect(some.characters / some.tokens).toBeCloseTo(whole.characters / whole.tokens, 0);
    expect(some.stream.mask.reduce((n, m) => n + m, 0)).toBe(some.tokens);
  });

  it('give prompts that fit, and take questions as they are asked', async () => {
    const data = await readTextData([advice], 0.1);
    expect(samplePrompts(data, tokenizer, { given: ['How are you?'], context: 64, room: 5 })).toEqual([
      'QUESTION: How are you?\n\nANSWER:',
    ]);
    expect(samplePrompts(data, tokenizer, { given: null, context: 64, room: 3 })).toEqual([]);
    expect(samplePrompts(data, tokenizer, { given: null, context: 64, room: 60 })).toHaveLength(4);
  });

  it('give samples in a context shorter than samples are', async () => {
    const flags = { ...TINY, ...SHORT, data: [advice], sampleLength: 60 };
    const { prompts } = await prepareFinetune(await FINETUNE.read({ flags }), device);
    expect(prompts).toHaveLength(4);
  });
});
