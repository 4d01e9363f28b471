/** The settings of `dawngrad train`. What reads them is tested with those of finetune. */
import { describe, expect, it } from 'vitest';
import { cpuDevice } from '../../src/tensor/default-device.js';
import { LARGE, SMALL } from '../../src/train/char-lm.js';
import { charLMConfig, configOfTrainRun, TRAIN } from '../../src/train/char-lm-config.js';
import type { RunFolder } from '../../src/train/run-folder.js';

const onGPU = { info: { software: false } } as never;
const runOf = (config: unknown) =>
  ({ config, path: 'runs/x', file: (name: string) => `runs/x/${name}` }) as RunFolder;

describe('TRAIN', () => {
  it('leaves to the device what nobody says', async () => {
    const nothing = await TRAIN.read({});
    expect(charLMConfig(nothing, cpuDevice())).toEqual(SMALL);
    expect(charLMConfig(nothing, onGPU)).toEqual(LARGE);
    const some = await TRAIN.read({
      flags: { steps: '7', dropout: '0', text: 'a.txt', name: 'x', capture: 'no' },
    });
    expect(charLMConfig(some, onGPU)).toEqual({
      ...LARGE,
      steps: 7,
      dropout: 0,
      text: 'a.txt',
      capture: false,
    });
  });

  it('has a field for every setting', () => {
    expect(TRAIN.fields.map(({ name }) => name).sort()).toEqual(
      ['name', ...Object.keys(SMALL)].filter((name) => name !== 'digest').sort(),
    );
  });

  it('refuses what was refused before', async () => {
    const wrong: Record<string, [string, string]> = {
      steps: ['0', 'to be at least 1, got 0 by --steps'],
      batchSize: ['1.5', 'to be an integer, got 1.5 by --batch-size'],
      dropout: ['1', 'to be at most 0.99, got 1 by --dropout'],
      validation: ['0.95', 'to be at most 0.9, got 0.95 by --validation'],
      lr: ['-1', 'to be at least 0, got -1 by --lr'],
      precision: ['half', 'to be one of float32, mixed, got "half" by --precision'],
    };
    for (const [name, [text, message]] of Object.entries(wrong)) {
      await expect(TRAIN.read({ flags: { [name]: text } })).rejects.toThrow(
        `train: expected ${name} ${message}`,
      );
    }
  });

  it('goes on with the settings of its own runs only', () => {
    expect(configOfTrainRun(runOf({ ...SMALL, digest: 'abc' }))).toEqual({ ...SMALL, digest: 'abc' });
    for (const foreign of [{ ...SMALL, digest: 'abc', model: 'gpt2' }, { steps: 3 }, null, 'text']) {
      expect(() => configOfTrainRun(runOf(foreign))).toThrow(
        'train: expected a run of dawngrad train, got runs/x, which something else made',
      );
    }
    expect(() => configOfTrainRun(runOf({ ...SMALL, digest: 'abc', steps: 'many' }))).toThrow(
      'train: expected steps to be a number, got "many" in runs/x/config.json',
    );
    const { steps: _, ...without } = SMALL;
    expect(() => configOfTrainRun(runOf({ ...without, digest: 'abc' }))).toThrow(
      'train: expected steps in runs/x/config.json, got none',
    );
  });
});
