/** Node only. What decides a run of `dawngrad train`: one table that files, environment, flags and `--help` are read from. */
import { z } from 'zod';
import { DataError } from '../device/errors.js';
import type { Device } from '../device/types.js';
import { type CharLMConfig, defaultConfig, LARGE, SHARED, SMALL } from './char-lm.js';
import { type ConfigOf, defineConfig, whole, DEVICE_FIELDS } from './config.js';
import type { RunFolder } from './run-folder.js';

/** What the device decides unless told: null until then. */
const byDevice = <S extends z.ZodType>(
  name: keyof CharLMConfig,
  schema: S,
  valueName: string,
  help: string,
) =>
  [
    schema.nullable().default(null as never),
    valueName,
    `${help} (default: ${SMALL[name]}, or ${LARGE[name]} on a GPU)`,
  ] as const;
const least0 = z.number().min(0);

/** All settings of `dawngrad train`, and how they are read. */
export const TRAIN = defineConfig('train', {
  name: [
    z.string().min(1).nullable().default(null),
    'name',
    'name of the run folder; default: that of the text',
  ],
  text: [
    z.string().min(1).nullable().default(SHARED.text),
    'file',
    'a text of your own (UTF-8); default: Moby-Dick from npm',
  ],
  steps: byDevice('steps', whole(1), 'n', 'optimizer steps'),
  batchSize: byDevice('batchSize', whole(1), 'n', 'windows per step'),
  blockSize: byDevice('blockSize', whole(1), 'n', 'context length in characters'),
  layers: byDevice('layers', whole(1), 'n', 'Transformer blocks'),
  heads: byDevice('heads', whole(1), 'n', 'attention heads'),
  dim: byDevice('dim', whole(1), 'n', 'width of the model'),
  dropout: byDevice('dropout', z.number().min(0).max(0.99), 'p', 'share of activations dropped in training'),
  lr: byDevice('lr', least0, 'x', 'peak learning rate'),
  weightDecay: [least0.default(SHARED.weightDecay), 'x', 'decay of weight matrices'],
  clipNorm: [least0.default(SHARED.clipNorm), 'x', 'largest gradient norm'],
  evaluateEvery: byDevice(
    'evaluateEvery',
    whole(1),
    'n',
    'steps between evaluations, samples and checkpoints',
  ),
  patience: [
    whole(0).default(SHARED.patience),
    'n',
    'evaluations without a new best before it stops; 0 for never',
  ],
  validation: [
    z.number().min(0.001).max(0.9).default(SHARED.validation),
    'share',
    'share of the text held out, at its end',
  ],
  sampleLength: byDevice('sampleLength', whole(0), 'n', 'characters of each sample; 0 for none'),
  precision: [
    z.enum(['float32', 'mixed']).default(SHARED.precision),
    'p',
    "'mixed' computes matrix products in float16",
  ],
  capture: [
    z.boolean().default(SHARED.capture),
    '',
    'run the code of every step instead of replaying the first; slower, same numbers',
  ],
  seed: [whole(0).default(SHARED.seed), 'n', 'the same seed repeats the same run'],
  ...DEVICE_FIELDS,
});

/** Settings as they are read; null where the device decides. */
export type TrainConfig = ConfigOf<typeof TRAIN>;

/** What the settings mean on a device: the small model without a GPU, the large one with it, changed as told. */
export function charLMConfig({ name: _, ...settings }: TrainConfig, device: Device): CharLMConfig {
  const told = Object.entries(settings).filter(([, value]) => value !== null);
  return { ...defaultConfig(device), ...Object.fromEntries(told) };
}

/** The settings of a run, to go on with. @throws DataError for a run of another command */
export function configOfTrainRun(run: RunFolder): CharLMConfig {
  const { digest, ...settings } = Object(run.config) as Record<string, unknown>;
  const known = TRAIN.fields.map((field) => field.name);
  if (typeof digest !== 'string' || !Object.keys(settings).every((name) => known.includes(name))) {
    throw new DataError(
      `train: expected a run of dawngrad train, got ${run.path}, which something else made`,
    );
  }
  const { name: _, ...config } = TRAIN.parse(settings, run.file('config.json'));
  const missing = Object.entries(config).find(
    ([name, value]) => value === null && SMALL[name as 'lr'] !== null,
  );
  if (missing) throw new DataError(`train: expected ${missing[0]} in ${run.file('config.json')}, got none`);
  return { ...config, digest } as CharLMConfig;
}
