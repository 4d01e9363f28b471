/** What the experiments share: their context, the original's model, plans, and where tables and figures go. */
import { readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { DataError, manualSeed, models } from '../../src/index.js';
import type { FrankensteinConfig } from './config.js';
import { digestOf, type TrainingData, type TrainingPlan, type Workplace } from './job.js';
import type { Source } from './text.js';

export interface Context extends Workplace {
  readonly config: FrankensteinConfig;
  readonly source: Source;
  /** A page that takes tables and figures; null for none. */
  readonly readme: string | null;
}

/** Saves a figure or a table beside the run folders; tables are shown as well. */
export async function save({ out, log, readme }: Context, name: string, content: string): Promise<void> {
  if (name.endsWith('.md')) log(`\n${content}`);
  await writeFile(join(out, name), content);
  if (readme === null) return;
  if (name.endsWith('.svg')) await writeFile(join(dirname(readme), name), content);
  else await writeFile(readme, withSection(await readFile(readme, 'utf8'), name.slice(0, -3), content));
}

/** A page with another text between `<!-- name -->` and `<!-- /name -->`. */
export function withSection(page: string, name: string, content: string): string {
  const [begin, end] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
  const [from, to] = [page.indexOf(begin), page.indexOf(end)];
  if (from < 0 || to < from)
    throw new DataError(`frankenstein: expected ${begin} … ${end} in the README, got none`);
  return `${page.slice(0, from + begin.length)}\n${content.trim()}\n${page.slice(to)}`;
}

/** The model of the original, on the device. */
export async function originalModel(
  { config, device }: Pick<Context, 'config' | 'device'>,
  vocabSize: number,
  hidden = config.hidden,
): Promise<models.CharLSTM> {
  manualSeed(config.seed);
  const model = new models.CharLSTM({ vocabSize, embedding: config.embedding, hidden });
  return (await model.to(device)) as models.CharLSTM;
}

/** What all plans of a configuration have in common. */
export function planOf(
  config: FrankensteinConfig,
  texts: TrainingData,
  own: Pick<TrainingPlan, 'name' | 'model' | 'lr' | 'steps' | 'epoch'> & Partial<TrainingPlan>,
): TrainingPlan {
  const { window, batchSize, seed } = config;
  const digest = digestOf(texts);
  return {
    window,
    batchSize,
    seed,
    digest,
    shuffle: true,
    falling: false,
    clipNorm: null,
    patience: 0,
    ...own,
  };
}

export function describeModel({ embedding, hidden }: FrankensteinConfig, vocabSize: number): string {
  return `LSTM ${embedding} → ${hidden}, ${vocabSize} characters`;
}
