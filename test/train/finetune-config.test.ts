/** Where settings come from, which one wins, and what is said of wrong ones. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CLASSIFY } from '../../src/train/classify-config.js';
import type { ConfigSources } from '../../src/train/config.js';
import { FINETUNE } from '../../src/train/finetune-config.js';
import { nearestName } from '../../src/train/nearest-name.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'dawngrad-config-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function file(content: unknown): Promise<string> {
  const path = join(folder, 'settings.json');
  await writeFile(path, typeof content === 'string' ? content : JSON.stringify(content));
  return path;
}

const message = (sources: ConfigSources): Promise<string> =>
  FINETUNE.read(sources).then(
    () => 'no error',
    (error: Error) => `${error.name}: ${error.message}`,
  );

describe('FINETUNE.read', () => {
  it('takes flags before the environment before the file before defaults', async () => {
    const config = await FINETUNE.read({
      file: await file({ data: ['a.txt'], lr: 1, batchSize: 1, seed: 7, targets: ['c_attn'] }),
      environment: {
        DAWNGRAD_LR: '2',
        DAWNGRAD_BATCH_SIZE: '2',
        DAWNGRAD_DEVICE: '',
        DAWNGRAD_THREADS: '1',
        PATH: '/',
      },
      flags: { lr: '3', targets: ['c_fc', 'c_proj'] },
    });
    expect(config).toMatchObject({
      lr: 3,
      batchSize: 2,
      seed: 7,
      rank: 16,
      alpha: 32,
      warmup: 0.1,
      clipNorm: 1,
    });
    expect(config).toMatchObject({ targets: ['c_fc', 'c_proj'], data: ['a.txt'], device: 'auto' });
  });

  it('reads lists, numbers and truth values of the environment', async () => {
    const config = await FINETUNE.read({
      environment: {
        DAWNGRAD_DATA: 'a.txt, b.txt',
        DAWNGRAD_TARGETS: '["c_attn"]',
        DAWNGRAD_SAMPLE_PROMPTS: 'Well, what now?',
        DAWNGRAD_ANSWERS_ONLY: 'true',
        DAWNGRAD_CAPTURE: '0',
        DAWNGRAD_LR: '1e-4',
      },
    });
    expect(config).toMatchObject({ data: ['a.txt', 'b.txt'], targets: ['c_attn'], answersOnly: true });
    expect(config).toMatchObject({ capture: false, lr: 1e-4, samplePrompts: ['Well, what now?'] });
  });

  it('lets steps of a later source replace epochs of an earlier one', async () => {
    const config = await FINETUNE.read({
      file: await file({ data: ['a'], epochs: 2 }),
      flags: { steps: '10' },
    });
    expect(config).toMatchObject({ steps: 10, epochs: null });
    expect(await message({ flags: { data: ['a'], steps: '10', epochs: '2' } })).toBe(
      'DataError: finetune: expected steps or epochs, got both, 10 and 2',
    );
  });

  it('refuses unknown names and knows the nearest', async () => {
    const path = await file({ data: ['a'], batchsize: 3 });
    expect(await message({ file: path })).toBe(
      `DataError: finetune: expected known settings in ${path}, got 'batchsize'; did you mean 'batchSize'?`,
    );
    expect(await message({ environment: { DAWNGRAD_LEARNING: '3' } })).toBe(
      "DataError: finetune: expected known settings in the environment, got 'DAWNGRAD_LEARNING'; see --help",
    );
    expect(await message({ environment: { DAWNGRAD_BATCHSIZE: '3' } })).toContain(
      "did you mean 'DAWNGRAD_BATCH_SIZE'?",
    );
    expect(nearestName('lerning', ['lr', 'learning'])).toBe('learning');
    expect(nearestName('zebra', ['lr', 'learning'])).toBeNull();
  });

  it('names the field, where it stands, what was expected and what was there', async () => {
    const path = await file({ data: [], method: 'lroa', batchSize: 1.5 });
    expect((await message({ file: path })).split('\n')).toEqual([
      `DataError: finetune: expected data to be not empty, got [] in ${path}`,
      `finetune: expected method to be one of full, lora, qlora, got "lroa" in ${path}`,
      `finetune: expected batchSize to be an integer, got 1.5 in ${path}`,
    ]);
    expect(await message({ environment: { DAWNGRAD_DATA: 'a', DAWNGRAD_LR: 'fast' } })).toBe(
      'DataError: finetune: expected lr to be a number, got "fast" as DAWNGRAD_LR',
    );
    expect(await message({ flags: { data: ['a'], lr: '-1', dropout: '1', sampleLength: '-2' } })).toBe(
      [
        'DataError: finetune: expected dropout to be below 1, got 1 by --dropout',
        'finetune: expected lr to be above 0, got -1 by --lr',
        'finetune: expected sampleLength to be at least 0, got -2 by --sample-length',
      ].join('\n'),
    );
    const shares = CLASSIFY.read({ flags: { data: ['a'], fractions: ['0.5', '0.5'] } });
    await expect(shares).rejects.toThrow(
      'classify: expected fractions to be 3 values, got [0.5,0.5] by --fractions',
    );
    await expect(CLASSIFY.read({ flags: { data: ['a'], fractions: '1,0,0,0' } })).rejects.toThrow(
      'classify: expected fractions to be 3 values, got ["1","0","0","0"] by --fractions',
    );
    expect(await message({})).toMatch(/expected data \(files of questions .*\), got none; say --data$/);
  });

  it('refuses what makes no sense together', async () => {
    expect(await message({ flags: { data: ['a'], layers: 3 } })).toBe(
      "DataError: finetune: expected layers only beside model 'scratch', got 3 by --layers and the model 'gpt2', which has its own",
    );
    expect(await message({ flags: { data: ['a'], model: 'scratch', method: 'lora' } })).toContain(
      'adapters need a trained model',
    );
  });

  it('refuses files that are none', async () => {
    expect(await message({ file: await file('{') })).toMatch(/cannot read the configuration .*settings.json/);
    expect(await message({ file: await file('[1]') })).toMatch(
      /expected an object of settings in .*, got \[1\]$/,
    );
    expect(await message({ file: join(folder, 'none.json') })).toMatch(/ENOENT/);
  });

  it('reads back what it gave', async () => {
    const config = await FINETUNE.read({ flags: { data: ['a'], model: 'scratch', size: 'nano' } });
    expect(FINETUNE.parse(JSON.parse(JSON.stringify(config)), 'config.json')).toEqual(config);
  });

  it('has a flag, a variable and a word of help for every field', () => {
    const batch = FINETUNE.fields.find(({ name }) => name === 'batchSize');
    expect(batch).toMatchObject({
      flag: '--batch-size',
      variable: 'DAWNGRAD_BATCH_SIZE',
      kind: 'number',
      initial: 8,
    });
    for (const { help, kind, valueName } of FINETUNE.fields) {
      expect(help).not.toBe('');
      expect(valueName === '').toBe(kind === 'flag');
    }
  });
});
