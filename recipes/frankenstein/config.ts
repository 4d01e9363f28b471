/** Settings of the recipe, and what each experiment makes of those that nobody gave. */
import { z } from 'zod';
import { type ConfigOf, defineConfig, share, whole, DEVICE_FIELDS } from '../../src/train/config.js';

export const EXPERIMENTS = ['letter', 'novel', 'diverge', 'climb', 'compare', 'decode', 'all'] as const;
export type Experiment = (typeof EXPERIMENTS)[number];

const rate = z.number().positive();

export const FRANKENSTEIN = defineConfig('frankenstein', {
  text: [z.string().nullable().default(null), 'file', 'the text; default: Frankenstein, see the README'],
  embedding: [whole(1).default(48), 'n', 'width of a character'],
  hidden: [whole(1).default(96), 'n', 'what the LSTM remembers, in numbers'],
  order: [
    z.enum(['shuffled', 'text']).default('shuffled'),
    'how',
    'windows of the novel in random order, or in that of the text as the original seems to have had them',
  ],
  window: [whole(2).default(48), 'n', 'characters of a window'],
  batchSize: [whole(1).default(36), 'n', 'windows per step'],
  letterLr: [rate.default(0.015), 'x', 'learning rate for the letter'],
  novelLr: [rate.default(0.003), 'x', 'learning rate for the novel'],
  letterEpochs: [whole(1).default(5), 'n', 'epochs of the letter'],
  longEpochs: [whole(1).default(30), 'n', 'epochs of the letter at most, where early stopping decides'],
  novelEpochs: [whole(1).default(10), 'n', 'epochs of the novel'],
  share: [share.default(0.1), 'x', 'share of the windows of the novel that make an epoch; 1 on a GPU'],
  validation: [share.default(0.05), 'x', 'share of the novel, at its end, that is held out'],
  patience: [whole(0).default(3), 'n', 'epochs without a better held-out loss before it stops; 0 for never'],
  climbSteps: [
    whole(8).default(48_752),
    'n',
    'steps at both rates until the high one climbs; default: four epochs of the original, of 12,188 steps',
  ],
  compareSteps: [whole(1).default(2000), 'n', 'steps of each model of the comparison'],
  prompts: [whole(1).default(32), 'n', 'prompts that decoding is compared on'],
  promptLength: [whole(1).default(100), 'n', 'characters of a prompt'],
  continuation: [whole(8).default(200), 'n', 'characters written after each prompt'],
  seed: [whole(0).default(1), 'n', 'the same seed repeats the same runs'],
  ...DEVICE_FIELDS,
});

export type FrankensteinConfig = ConfigOf<typeof FRANKENSTEIN>;

/** A sixtieth of the novel's windows per epoch, and fewer of everything else: all experiments in under five minutes. */
export const QUICK: Partial<FrankensteinConfig> = {
  longEpochs: 5,
  novelEpochs: 3,
  share: 0.0167,
  climbSteps: 200,
  compareSteps: 200,
  prompts: 8,
  continuation: 120,
};
