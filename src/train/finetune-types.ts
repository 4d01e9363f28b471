/** What a fine-tuning run finds out and leaves behind. */
import type { ParameterCount } from '../nn/lora.js';
import type { Finding } from './finding.js';
import type { Measured } from './finetune-data.js';
import type { TrainResult } from './trainer.js';

/** What the configuration leaves to the model and the data. */
export interface ResolvedSettings {
  readonly lr: number;
  readonly blockSize: number;
  readonly steps: number;
  readonly epochs: number;
  readonly evaluateEvery: number;
  readonly checkpointEvery: number;
}

/** Losses on the measured part of the held-out text, in nats per token. */
export interface HeldOut {
  readonly name: 'validation' | 'test';
  readonly measured: Measured;
  readonly unigram: number;
  readonly bigram: number;
}

/** What a model writes after a prompt. */
export interface Sample {
  readonly prompt: string;
  readonly text: string;
}

/** What was found out before the first step; kept in the run. */
export interface Beginning extends Sampled {
  /** The untouched model's losses: of the held-out parts that there are, and of a few batches of the training data. */
  readonly losses: { readonly [Name in HeldOut['name'] | 'training']?: number };
  readonly plain: number | null;
  readonly findings: readonly Finding[];
}

/** How varied and how long samples are. */
export interface SampleStatistics {
  readonly distinct1: number;
  readonly distinct2: number;
  readonly meanTokens: number;
  readonly minTokens: number;
  readonly maxTokens: number;
}

/** Samples of one moment. */
export interface Sampled {
  readonly samples: readonly Sample[];
  /** Of their tokens; null without samples. */
  readonly statistics: SampleStatistics | null;
}

export interface ModelSize extends ParameterCount {
  /** Of parameters and buffers on the device. */
  readonly bytes: number;
}

/** What result.json holds. */
export interface FinetuneResult {
  readonly step: number;
  readonly stopped: TrainResult['stopped'];
  readonly seconds: number;
  readonly best: TrainResult['best'];
  readonly skipped: number;
  readonly parameters: ModelSize;
  readonly heldOut: readonly {
    readonly name: HeldOut['name'];
    readonly tokens: number;
    readonly characters: number;
    readonly uniform: number;
    readonly unigram: number;
    readonly bigram: number;
    readonly before: number | null;
    readonly after: number;
    readonly perplexity: number;
    readonly bitsPerCharacter: number;
  }[];
  readonly samples: { readonly before: readonly Sample[]; readonly after: readonly Sample[] };
  readonly statistics: { readonly before: SampleStatistics | null; readonly after: SampleStatistics | null };
  readonly findings: readonly Finding[];
}
