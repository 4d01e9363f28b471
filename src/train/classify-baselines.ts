/** Node only. What a classifier is measured beside: the prior, a bag of words, a language model that is only asked. */
import type { Device } from '../device/types.js';
import { tuneBow, PriorClassifier } from './bow-baseline.js';
import type { ClassifyConfig } from './classify-config.js';
import type { ClassifyDocument } from './classify-documents.js';
import type { Part } from './classify-types.js';
import { openTrained } from './finetune-model.js';
import { zeroShot } from './zero-shot.js';

/** A baseline's probabilities for some documents, and what it came to. */
export interface FittedBaseline {
  readonly name: string;
  /** Probabilities of class 1 by number of the document. */
  readonly probabilities: ReadonlyMap<number, number>;
  /** For `result.json`. */
  readonly facts: unknown;
}

export interface BaselineInputs {
  readonly config: ClassifyConfig;
  readonly device: Device;
  readonly documents: readonly ClassifyDocument[];
  readonly parts: Readonly<Record<Part, readonly number[]>>;
  /** Documents to be judged. */
  readonly wanted: readonly number[];
  onBaseline?(name: string, done: number, total: number): void;
}

const QUESTION_WORDS: Readonly<Record<string, string>> = {
  nominated: 'Was this nominated for an Academy Award?',
  winner: 'Did this win an Academy Award?',
};

/** Fits the baselines on the training documents; of the validation documents only choices are made, of the test none. */
export async function fitBaselines(inputs: BaselineInputs): Promise<FittedBaseline[]> {
  const fits = { prior: fitPrior, bow: fitBow, 'zero-shot': askZeroShot };
  const fitted: FittedBaseline[] = [];
  // Each once, whatever the configuration repeats.
  for (const name of new Set(inputs.config.baselines)) {
    inputs.onBaseline?.(name, 0, inputs.wanted.length);
    const { values, facts } = await fits[name](inputs);
    fitted.push({ name, facts, probabilities: new Map(inputs.wanted.map((i, k) => [i, values[k]])) });
  }
  return fitted;
}

interface Fit {
  /** Of the wanted documents. */
  readonly values: Float64Array;
  readonly facts: unknown;
}

const labelsOf = ({ documents }: BaselineInputs, part: readonly number[]): number[] =>
  part.map((i) => documents[i].label);
const textsOf = ({ documents }: BaselineInputs, part: readonly number[]): string[] =>
  part.map((i) => documents[i].text);

async function fitPrior(inputs: BaselineInputs): Promise<Fit> {
  const prior = PriorClassifier.fit(labelsOf(inputs, inputs.parts.train));
  return { values: prior.predict(inputs.wanted), facts: { probability: prior.probability } };
}

async function fitBow(inputs: BaselineInputs): Promise<Fit> {
  const { parts, device, wanted } = inputs;
  const set = (part: readonly number[]) => ({ texts: textsOf(inputs, part), labels: labelsOf(inputs, part) });
  const { model, l2, tried } = await tuneBow(set(parts.train), set(parts.validation), { device });
  const words = (label: 0 | 1): string[] => model.topWords(20, label).map(({ word }) => word);
  return {
    values: Float64Array.from(wanted, (i) => model.predict([inputs.documents[i].text])[0]),
    facts: { words: model.vectors.words.length, l2, tried, for1: words(1), for0: words(0) },
  };
}

async function askZeroShot(inputs: BaselineInputs): Promise<Fit> {
  const { config, device, wanted, onBaseline } = inputs;
  const { model, tokenizer } = await openTrained(config.zeroShotModel!, { device });
  const question = questionOf(config);
  const values = await zeroShot(model, tokenizer, textsOf(inputs, wanted), {
    question,
    maxChunks: 16,
    calibrate: true,
    onProgress: (done, total) => onBaseline?.('zero-shot', done, total),
  });
  for (const p of model.parameters()) p.release();
  return { values, facts: { model: config.zeroShotModel, question } };
}

/** What the language model is asked of each text. */
export function questionOf({ question, label, positive, data, oscars }: ClassifyConfig): string {
  if (question !== null) return question;
  if (data.includes('spam')) return 'Is this e-mail spam?';
  if (data.includes('sotu')) return 'Is this the speech of a Republican president?';
  const known = QUESTION_WORDS[label ?? (oscars === null ? '' : 'nominated')];
  return known ?? `Is the ${label ?? 'class'} of this text ${positive?.join(' or ') ?? 'yes'}?`;
}
