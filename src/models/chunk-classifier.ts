/** The chunk-pooling classifier: a document of any length in, one logit out, in memory that does not grow with it. */
import { noGrad } from '../autograd/mode.js';
import { mul } from '../autograd/ops/arithmetic.js';
import { reshape } from '../autograd/ops/broadcast.js';
import { mean } from '../autograd/ops/mean.js';
import { pow } from '../autograd/ops/power.js';
import { DataError, ShapeError } from '../device/errors.js';
import * as F from '../nn/functional.js';
import { Dropout, LayerNorm, Linear, Module } from '../nn/index.js';
import { tensor } from '../tensor/factories.js';
import { scope } from '../tensor/lifetime.js';
import type { Tensor } from '../tensor/tensor.js';
import { type ChunkBatch, chunksOf } from './chunk-batch.js';
import type { ChunkEncoder } from './chunk-encoders.js';
import {
  AttentionPooling,
  type ChunkPooling,
  chunkGrid,
  makePooling,
  PlacedPooling,
  type PoolingKind,
  type PoolingLayersConfig,
} from './chunk-pooling.js';
import { ChunkStateCache, type ChunkStatesOptions, encodeChunks } from './chunk-states.js';

export interface ChunkClassifierOptions extends ChunkStatesOptions {
  /** How chunk states become a document's state. Default 'attention'. */
  readonly pooling?: PoolingKind;
  /** Layers of the poolings 'transformer' and 'decoder'. */
  readonly poolingLayers?: PoolingLayersConfig;
  /** Share of the document's state that is dropped in training. Default 0. */
  readonly dropout?: number;
}

export interface BinaryLossOptions {
  /** What a document of label 1 counts for, beside 1 for one of label 0. Default 1. */
  readonly posWeight?: number;
  /** γ of the focal loss, (1 − p)^γ · −log p: documents that are right already count less. Default 0, all count the same. */
  readonly focal?: number;
}

/** How a document was judged. */
export interface Explanation {
  readonly probability: number;
  /** Its chunks in order: which tokens they are, and what they did. */
  readonly chunks: readonly {
    readonly start: number;
    readonly end: number;
    /** The logit, minus that of the document without this chunk; of an only chunk the logit itself. */
    readonly effect: number;
    /** What the chunk counts for where pooling is by attention, else null. */
    readonly weight: number | null;
  }[];
}

/**
 * Mean binary cross-entropy of logits [B] against labels [B] of 0 and 1.
 *
 * @source torch.nn.functional.binary_cross_entropy_with_logits; Lin et al., Focal loss for dense object detection (2017)
 */
export function binaryLoss(logits: Tensor, labels: Tensor, options: BinaryLossOptions = {}): Tensor {
  const { posWeight = 1, focal = 0 } = options;
  if (!(posWeight > 0) || !(focal >= 0)) {
    throw new DataError(`binaryLoss: expected posWeight > 0 and focal ≥ 0, got ${posWeight} and ${focal}`);
  }
  const weight = tensor(Float64Array.of(posWeight), { dtype: logits.dtype, device: logits.device });
  const losses = F.bceWithLogitsLoss(logits, labels, { posWeight: weight, reduction: 'none' });
  if (focal === 0) return mean(losses);
  // 1 − p of the right class is σ(−x) for label 1 and σ(x) for label 0.
  const wrong = F.sigmoid(mul(logits, labels.mul(-2).add(1)));
  return mean(mul(losses, pow(wrong, focal)));
}

/**
 * Reads a document chunk by chunk, pools the chunks' states and gives one logit.
 *
 * In training, groups of chunks are encoded one after the other, and each group's activations are computed again in
 * backward. So memory depends on the group, and on a document's length only by a vector and the token ids of each chunk.
 * A frozen encoder runs without a graph. Batches are host data, so steps cannot be captured.
 *
 * @example
 * const model = new ChunkClassifier(new TransformerChunkEncoder({ vocabSize: 2048 }), { pooling: 'max' });
 * const batch = batchDocuments(documents, { chunk: 256, labels });
 * model.loss(batch).backward();
 */
export class ChunkClassifier extends Module {
  readonly encoder: ChunkEncoder;
  readonly pooling: ChunkPooling;
  readonly norm: LayerNorm;
  readonly drop: Dropout;
  readonly head: Linear;
  readonly options: ChunkClassifierOptions;
  /** States of documents read by a frozen encoder. */
  readonly cache: ChunkStateCache | null;

  /** @throws ShapeError or DataError for options that make no classifier. */
  constructor(encoder: ChunkEncoder, options: ChunkClassifierOptions = {}) {
    super();
    const { group = 8, sampled = null, pooling = 'attention', dropout = 0, cache = false } = options;
    for (const [name, n] of Object.entries({ group, sampled: sampled ?? 1 })) {
      if (!(Number.isInteger(n) && n > 0)) {
        throw new ShapeError(`ChunkClassifier: expected ${name} to be a positive integer, got ${n}`);
      }
    }
    this.options = options;
    this.encoder = encoder;
    this.pooling = makePooling(pooling, encoder.dim, options.poolingLayers);
    this.norm = new LayerNorm(encoder.dim);
    this.drop = new Dropout(dropout);
    this.head = new Linear(encoder.dim, 1);
    this.cache = cache ? new ChunkStateCache() : null;
  }

  /** Logits [B] from the states of chunks, `lists` naming the rows of each document's chunks. */
  private judge(
    states: Tensor,
    lists: readonly (readonly number[])[],
    places: readonly (readonly number[])[],
  ): Tensor {
    const pooled = this.pooling.forward(chunkGrid(states, lists, places));
    return reshape(this.head.forward(this.drop.forward(this.norm.forward(pooled))), [lists.length]);
  }

  private encode(batch: ChunkBatch): {
    states: Tensor;
    lists: number[][];
    places: number[][];
  } {
    if (this.pooling instanceof PlacedPooling) this.pooling.checkPlaces(batch.places);
    const { encoder, cache: cached, training, options } = this;
    const { states, row } = encodeChunks(batch, { ...options, encoder, cached, training });
    const chunks = chunksOf(batch);
    return {
      states,
      lists: chunks.map((list) => list.map((n) => row[n])),
      places: chunks.map((list) => list.map((n) => batch.places[n])),
    };
  }

  /**
   * @param batch what `batchDocuments` gave
   * @returns logits [B]
   * @throws ShapeError for chunks longer than the encoder reads.
   */
  forward(batch: ChunkBatch): Tensor {
    const { states, lists, places } = this.encode(batch);
    return this.judge(states, lists, places);
  }

  /** Mean loss of a batch with labels, a scalar. @throws DataError for a batch without. */
  loss(batch: ChunkBatch, options: BinaryLossOptions = {}): Tensor {
    if (!batch.labels) throw new DataError('ChunkClassifier.loss: expected a batch with labels, got none');
    const logits = this.forward(batch);
    const { dtype, device } = logits;
    return binaryLoss(logits, tensor(batch.labels, { dtype, device }), options);
  }

  /** Probabilities of label 1, [B], without a graph. */
  probabilities(batch: ChunkBatch): Tensor {
    return noGrad(() => scope(() => F.sigmoid(this.forward(batch))));
  }

  /**
   * What each chunk did: the document is judged once more without it, which costs a pooling and no reading.
   *
   * @returns one explanation per document
   */
  async explain(batch: ChunkBatch): Promise<Explanation[]> {
    const wasTraining = this.training;
    this.eval();
    const { states, lists, places } = noGrad(() =>
      scope(() => {
        const all = this.encode(batch);
        // A cached document's states would be the cache's own.
        return { ...all, states: all.states.clone() };
      }),
    );
    const explanations: Explanation[] = [];
    const chunks = chunksOf(batch);
    for (let d = 0; d < batch.size; d++) {
      const [list, at] = [lists[d], places[d]];
      const logit = await this.logitsOf(states, [list], [at]);
      const others = list.map((_, i) => i).filter(() => list.length > 1);
      const without: number[] = [];
      // Some at a time, so that the grid of chunks × chunks stays small.
      for (let i = 0; i < others.length; i += 16) {
        const some = others.slice(i, i + 16);
        const drop = <T>(from: readonly T[]) => some.map((k) => from.filter((_, j) => j !== k));
        without.push(...(await this.logitsOf(states, drop(list), drop(at))));
      }
      const weights = await this.weightsOf(states, list, at);
      explanations.push({
        probability: 1 / (1 + Math.exp(-logit[0])),
        chunks: chunks[d].map((n, i) => ({
          start: batch.starts[n],
          end: batch.starts[n] + batch.lengths[n],
          effect: logit[0] - (without[i] ?? 0),
          weight: weights ? weights[i] : null,
        })),
      });
    }
    states.release();
    if (wasTraining) this.train();
    return explanations;
  }

  private async logitsOf(states: Tensor, lists: number[][], places: number[][]): Promise<number[]> {
    const logits = noGrad(() => scope(() => this.judge(states, lists, places)));
    const values = Array.from(await logits.data());
    logits.release();
    return values;
  }

  private async weightsOf(states: Tensor, list: number[], places: number[]): Promise<number[] | null> {
    const { pooling } = this;
    if (!(pooling instanceof AttentionPooling)) return null;
    const weights = noGrad(() => scope(() => pooling.weights(chunkGrid(states, [list], [places]))));
    const values = Array.from(await weights.data());
    weights.release();
    return values;
  }
}
