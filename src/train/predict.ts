/** Node only. What a trained classifier says of new documents, and by which of their chunks. */
import type { Tokenizer } from '../data/tokenizer.js';
import { DataError } from '../device/errors.js';
import type { Device } from '../device/types.js';
import { chunkCount, chunkSpans } from '../models/chunk-batch.js';
import { ChunkClassifier, type Explanation } from '../models/chunk-classifier.js';
import { type ClassifierRun, openClassifier, readClassifyRun } from './classifier-run.js';
import type { ClassifyConfig } from './classify-config.js';
import { RunFolder } from './run-folder.js';

/** A document to be judged. */
export interface UnseenDocument {
  readonly name: string;
  readonly text: string;
}

/** A chunk, and what it did. */
export interface PredictedChunk {
  /** From its first token to behind its last. */
  readonly tokens: readonly [start: number, end: number];
  /** The same in characters (UTF-16 code units) of the text. */
  readonly characters: readonly [start: number, end: number];
  /** The logit, minus that without the chunk: above 0 where it speaks for class 1; of an only chunk the logit itself. */
  readonly effect: number;
  /** Its share where pooling is by attention, else null. */
  readonly weight: number | null;
  /** Its beginning, on one line. */
  readonly excerpt: string;
}

export interface Prediction {
  readonly name: string;
  /** Of class 1: the mean over folds. */
  readonly probability: number;
  readonly verdict: 0 | 1;
  /** The probability of each fold, of a cross-validation. */
  readonly folds?: readonly number[];
  /** Tokens of the text, and how many of them were read. */
  readonly tokens: number;
  readonly tokensRead: number;
  /** Chunks of the text, and how many of them were read; null where the model has none. */
  readonly chunks: { readonly all: number; readonly read: number } | null;
  /** Chunks by the size of their effect, the largest first. */
  readonly top: readonly PredictedChunk[];
}

export interface PredictOptions {
  /** Chunks to tell of; 0, the fastest, by default. */
  readonly top?: number;
  /** Decides class 1 at p ≥ threshold; by default that of the run. */
  readonly threshold?: number;
  /** Most characters of an excerpt. Default 300. */
  readonly excerpt?: number;
  /** Most documents, and most tokens, that are read together. Defaults 16 and 32,768. */
  readonly batchSize?: number;
  readonly batchTokens?: number;
}

interface Read {
  readonly document: UnseenDocument;
  readonly ids: Int32Array;
}

/**
 * A trained classifier, or those of all folds of a cross-validation, whose probabilities and thresholds are averaged.
 *
 * @example
 * const predictor = await Predictor.open('runs/sotu', device);
 * for await (const { name, probability, top } of predictor.predict([{ name: 'speech', text }], { top: 3 })) …
 */
export class Predictor {
  /** Class 1 from this probability on. */
  readonly threshold: number;
  readonly config: ClassifyConfig;
  readonly tokenizer: Tokenizer;

  private constructor(
    /** One, or one per fold. */
    readonly runs: readonly ClassifierRun[],
  ) {
    this.threshold = runs.reduce((sum, { threshold }) => sum + threshold, 0) / runs.length;
    this.config = runs[0].config;
    this.tokenizer = runs[0].tokenizer;
  }

  /** @throws DataError for what is not the finished run of a classifier */
  static async open(folder: string, device: Device): Promise<Predictor> {
    const run = await RunFolder.open(folder);
    const { config, record } = readClassifyRun(run);
    if (config.folds === 0 || record.fold !== null) {
      return new Predictor([await openClassifier(folder, device)]);
    }
    const runs: ClassifierRun[] = [];
    for (let fold = 1; fold <= config.folds; fold++) {
      runs.push(await openClassifier(run.file(`fold-${fold}`), device));
    }
    return new Predictor(runs);
  }

  /** Judges documents, some at a time, in order. */
  async *predict(
    documents: Iterable<UnseenDocument> | AsyncIterable<UnseenDocument>,
    options: PredictOptions = {},
  ): AsyncGenerator<Prediction> {
    const { batchSize = 16, batchTokens = 32_768 } = options;
    let batch: Read[] = [];
    let tokens = 0;
    for await (const document of documents) {
      // Blank texts were nothing to learn from either.
      const ids = this.tokenizer.encode(document.text.trim() === '' ? '' : document.text);
      if (batch.length > 0 && (batch.length >= batchSize || tokens + ids.length > batchTokens)) {
        yield* await this.judge(batch, options);
        [batch, tokens] = [[], 0];
      }
      batch.push({ document, ids });
      tokens += ids.length;
    }
    if (batch.length > 0) yield* await this.judge(batch, options);
  }

  private async judge(batch: readonly Read[], options: PredictOptions): Promise<Prediction[]> {
    const { top = 0, threshold = this.threshold, excerpt = 300 } = options;
    const tokens = batch.map(({ ids }) => ids);
    const probabilities: Float64Array[] = [];
    const explanations: Explanation[][] = [];
    for (const { classifier } of this.runs) {
      const explained = top > 0 ? await classifier.explain(tokens) : null;
      if (explained) explanations.push(explained);
      probabilities.push(
        explained
          ? Float64Array.from(explained, ({ probability }) => probability)
          : await classifier.probabilities(tokens),
      );
    }
    return batch.map(({ document: { name, text }, ids }, d): Prediction => {
      const folds = probabilities.map((p) => p[d]);
      const probability = folds.reduce((a, b) => a + b, 0) / folds.length;
      if (Number.isNaN(probability)) {
        throw new DataError(
          `predict: expected a probability of ${name}, got none: the weights in ${this.runs[0].run.path} are not finite`,
        );
      }
      const chunks = averageChunks(explanations.map((e) => e[d]));
      const most = chunks.sort((a, b) => Math.abs(b.effect) - Math.abs(a.effect)).slice(0, top);
      const offsets = most.length > 0 ? characterOffsets(this.tokenizer, ids) : null;
      return {
        name,
        probability,
        verdict: probability >= threshold ? 1 : 0,
        ...(folds.length > 1 && { folds }),
        tokens: ids.length,
        ...this.coverage(ids.length),
        top: most.map(({ start, end, effect, weight }) => {
          const characters = [offsets![start], offsets![end]] as const;
          return {
            tokens: [start, end],
            characters,
            effect,
            weight,
            excerpt: shorten(text.slice(...characters), excerpt),
          };
        }),
      };
    });
  }

  /** How much of a document of so many tokens is read. */
  private coverage(length: number): Pick<Prediction, 'tokensRead' | 'chunks'> {
    const { model } = this.runs[0];
    if (!(model instanceof ChunkClassifier)) {
      return { tokensRead: Math.min(length, model.config.maxLength), chunks: null };
    }
    const { chunk, overlap, maxChunks, keep, maxTokens } = this.config;
    const spans = chunkSpans(Math.min(length, maxTokens ?? length), { chunk, overlap, maxChunks, keep });
    let tokensRead = 0;
    let behind = 0;
    for (const { start, end } of spans) {
      tokensRead += end - Math.max(start, behind);
      behind = end;
    }
    return { tokensRead, chunks: { all: chunkCount(length, { chunk, overlap }), read: spans.length } };
  }
}

type ExplainedChunk = Explanation['chunks'][number];

/** Folds cut a document in the same way. */
function averageChunks(explanations: readonly Explanation[]): ExplainedChunk[] {
  if (explanations.length === 0) return [];
  const mean = (of: (chunk: ExplainedChunk) => number, i: number): number =>
    explanations.reduce((sum, { chunks }) => sum + of(chunks[i]), 0) / explanations.length;
  return explanations[0].chunks.map(({ start, end, weight }, i) => ({
    start,
    end,
    effect: mean((chunk) => chunk.effect, i),
    weight: weight === null ? null : mean((chunk) => chunk.weight ?? 0, i),
  }));
}

/**
 * Where each token begins in the text, in UTF-16 code units, and the end of the text; a token that begins within a character
 * begins at that character.
 */
export function characterOffsets(tokenizer: Tokenizer, ids: Int32Array): Int32Array {
  const offsets = new Int32Array(ids.length + 1);
  const stream = tokenizer.stream();
  let length = 0;
  ids.forEach((id, i) => {
    length += stream.push(id).length;
    offsets[i + 1] = length;
  });
  offsets[ids.length] = length + stream.end().length;
  return offsets;
}

/** Text on one line without control characters, cut at a word where it is too long. */
export function shorten(text: string, most: number): string {
  // A terminal would obey some of them.
  const line = text
    .replace(/[\s\p{Cc}]+/gu, ' ')
    .replace(/\p{Surrogate}/gu, '\uFFFD')
    .trim();
  if (line.length <= most) return line;
  // One more, so that a word that ends just there stays whole.
  const cut = line.slice(0, most).replace(/[\uD800-\uDBFF]$/, '');
  const space = line[most] === ' ' ? most : cut.lastIndexOf(' ');
  return `${(space > most / 2 ? cut.slice(0, space) : cut).trimEnd()} …`;
}
