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
  /** Parts whose documents are judged, each by itself: no batch is shared, so that no rounding of one depends on another. */
  readonly wanted: readonly Part[];
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
    inputs.onBaseline?.(name, 0, 1);
    const { judge, facts, release } = await fits[name](inputs);
    const probabilities = new Map<number, number>();
    for (const part of inputs.wanted) {
      const documents = inputs.parts[part];
      const values = await judge(textsOf(inputs, documents));
      documents.forEach((i, k) => {
        probabilities.set(i, values[k]);
      });
    }
    release?.();
    fitted.push({ name, facts, probabilities });
  }
  return fitted;
}

interface Fit {
  /** Probabilities of class 1. */
  judge(texts: readonly string[]): Float64Array | Promise<Float64Array>;
  readonly facts: unknown;
  release?(): void;
}

const labelsOf = ({ documents }: BaselineInputs, part: readonly number[]): number[] =>
  part.map((i) => documents[i].label);
const textsOf = ({ documents }: BaselineInputs, part: readonly number[]): string[] =>
  part.map((i) => documents[i].text);

async function fitPrior(inputs: BaselineInputs): Promise<Fit> {
  const prior = PriorClassifier.fit(labelsOf(inputs, inputs.parts.train));
  return { judge: (texts) => prior.predict(texts), facts: { probability: prior.probability } };
}

async function fitBow(inputs: BaselineInputs): Promise<Fit> {
  const { parts, device } = inputs;
  const set = (part: readonly number[]) => ({ texts: textsOf(inputs, part), labels: labelsOf(inputs, part) });
  const { model, l2, tried } = await tuneBow(set(parts.train), set(parts.validation), { device });
  const words = (label: 0 | 1): string[] => model.topWords(20, label).map(({ word }) => word);
  return {
    judge: (texts) => model.predict(texts),
    facts: { words: model.vectors.words.length, l2, tried, for1: words(1), for0: words(0) },
  };
}

async function askZeroShot({ config, device, onBaseline }: BaselineInputs): Promise<Fit> {
  const { model, tokenizer } = await openTrained(config.zeroShotModel!, { device });
  const question = questionOf(config);
  return {
    judge: (texts) =>
      zeroShot(model, tokenizer, texts, {
        question,
        maxChunks: 16,
        calibrate: true,
        onProgress: (done, total) => onBaseline?.('zero-shot', done, total),
      }),
    facts: { model: config.zeroShotModel, question },
    release: () => {
      for (const p of model.parameters()) p.release();
    },
  };
}

/** What the language model is asked of each text. */
export function questionOf({ question, label, positive, data, oscars }: ClassifyConfig): string {
  if (question !== null) return question;
  if (data.includes('spam')) return 'Is this e-mail spam?';
  if (data.includes('sotu')) return 'Is this the speech of a Republican president?';
  const known = QUESTION_WORDS[label ?? (oscars === null ? '' : 'nominated')];
  return known ?? `Is the ${label ?? 'class'} of this text ${positive?.join(' or ') ?? 'yes'}?`;
}
