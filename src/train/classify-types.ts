/** What a run of the document classifier finds and leaves behind. */
import type { MetricRow } from './classifier-report.js';

/** The parts of the documents. */
export const PARTS = ['train', 'validation', 'test'] as const;
export type Part = (typeof PARTS)[number];

/** What a part holds. */
export interface PartCounts {
  readonly documents: number;
  readonly positives: number;
  readonly groups: number;
  readonly tokens: number;
}

/** Near-duplicates among the documents. */
export interface TwinCounts {
  /** Documents that have a twin. */
  readonly documents: number;
  /** Of these, those with a twin in another part. */
  readonly divided: number;
}

/** What the model and the baselines decide by. */
export interface Thresholds {
  readonly [model: string]: number;
}

/** `result.json` of a run: of one split, or of a fold. */
export interface ClassifyResult {
  readonly step: number;
  readonly stopped: 'finished' | 'early stopping' | 'interrupted';
  readonly seconds: number;
  /** The evaluation whose weights are kept. */
  readonly best: { readonly step: number; readonly validation: number; readonly prAuc: number };
  readonly parameters: { readonly total: number; readonly trainable: number };
  /** Weight of class 1 in the loss; 1 for none. */
  readonly posWeight: number;
  /** From which probability on a document is said to be of class 1; chosen on validation. */
  readonly threshold: number;
  readonly thresholds: Thresholds;
  readonly parts: Readonly<Record<Part, PartCounts>>;
  readonly twins: TwinCounts;
  /** The model and the baselines on validation, at the thresholds that were chosen there: flattering. */
  readonly validation: readonly MetricRow[];
  /** The same on the test documents, which were read once. */
  readonly test: readonly MetricRow[];
  /** Mean distance between the probabilities that each model says and the shares that are found, on the test documents. */
  readonly calibration: Readonly<Record<string, number>>;
  /** What the baselines came to, such as the strength of the bag of words' penalty. */
  readonly baselines: Readonly<Record<string, unknown>>;
}

/** `result.json` of a cross-validation. */
export interface FoldsResult {
  readonly folds: readonly (Pick<
    ClassifyResult,
    'step' | 'stopped' | 'seconds' | 'best' | 'threshold' | 'parts'
  > & {
    readonly fold: number;
    readonly test: readonly MetricRow[];
  })[];
  readonly twins: TwinCounts;
  /** All documents, each by the run that did not learn from it, at that run's threshold. */
  readonly test: readonly MetricRow[];
}

/** A line of `predictions.jsonl`. */
export interface PredictionLine {
  readonly id: string;
  readonly group: string;
  readonly title?: string;
  readonly split: Part;
  /** In a cross-validation the run that had the document in its test. */
  readonly fold?: number;
  readonly label: 0 | 1;
  /** Length of the text. */
  readonly characters: number;
  /** The model's probability of class 1. */
  readonly probability: number;
  /** Probabilities of the baselines: `prior`, `bow`, `zero-shot`. */
  readonly [baseline: string]: string | number | undefined;
}
