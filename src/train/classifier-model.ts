/** The document classifier of a configuration: which model it is, and how documents become its batches. */
import { noGrad } from '../autograd/mode.js';
import type { Tokenizer } from '../data/tokenizer.js';
import { DataError } from '../device/errors.js';
import type { Device } from '../device/types.js';
import { batchDocuments, type ChunkBatch, chunkSpans } from '../models/chunk-batch.js';
import {
  type BinaryLossOptions,
  binaryLoss,
  ChunkClassifier,
  type Explanation,
} from '../models/chunk-classifier.js';
import {
  CausalChunkEncoder,
  type ChunkEncoder,
  EncoderDecoderChunkEncoder,
  TransformerChunkEncoder,
} from '../models/chunk-encoders.js';
import { PlacedPooling } from '../models/chunk-pooling.js';
import type { GPT2 } from '../models/gpt2.js';
import { Transformer } from '../models/transformer.js';
import { type WindowBatch, WindowClassifier, windowBatch } from '../models/window-classifier.js';
import { applyLora } from '../nn/lora.js';
import { tensor } from '../tensor/factories.js';
import { keep, scope } from '../tensor/lifetime.js';
import type { Tensor } from '../tensor/tensor.js';
import type { ClassifyConfig } from './classify-config.js';

/** Tokens of a document that the window reads, where the configuration does not say. */
const WINDOW_TOKENS = 16_384;

/** A classifier, and how documents become its batches. */
export class Classifier {
  /** @param model made by `buildClassifier` from `config` */
  constructor(
    readonly model: ChunkClassifier | WindowClassifier,
    readonly config: ClassifyConfig,
  ) {}

  private get device(): Device {
    return this.model.parameters()[0].device;
  }

  /** What of a document is read, before it is cut into chunks. */
  private cut(tokens: readonly Int32Array[]): readonly Int32Array[] {
    const { maxTokens, encoder } = this.config;
    const most = maxTokens ?? (encoder === 'window' ? WINDOW_TOKENS : null);
    return most === null ? tokens : tokens.map((t) => t.subarray(0, most));
  }

  /** How many tokens of a document are read, those in two chunks twice. */
  tokensRead(length: number): number {
    const { maxTokens, encoder, chunk, overlap, maxChunks, keep: which } = this.config;
    const most = Math.min(length, maxTokens ?? (encoder === 'window' ? WINDOW_TOKENS : Infinity));
    if (encoder === 'window') return most;
    const spans = chunkSpans(most, { chunk, overlap, maxChunks, keep: which });
    return spans.reduce((sum, { start, end }) => sum + end - start, 0);
  }

  /**
   * Refuses a document with a chunk further in than the pooling knows places.
   * @param length its tokens
   * @param id what it is called
   */
  checkLength(length: number, id: string): void {
    const { model, config } = this;
    if (!(model instanceof ChunkClassifier && model.pooling instanceof PlacedPooling)) return;
    const { maxTokens, chunk, overlap, maxChunks, keep: which, pooling } = config;
    const spans = chunkSpans(Math.min(length, maxTokens ?? length), {
      chunk,
      overlap,
      maxChunks,
      keep: which,
    });
    const [most] = model.pooling.waves.shape;
    const last = spans[spans.length - 1].place;
    if (last < most) return;
    throw new DataError(
      `classify: expected documents of at most ${most} chunks beside pooling '${pooling}', got ${last + 1} chunks of ${id}; ` +
        'raise chunk, lower overlap or maxTokens, or take another pooling',
    );
  }

  private chunkBatch(
    tokens: readonly Int32Array[],
    labels?: ArrayLike<number>,
    keys?: readonly string[],
  ): ChunkBatch {
    const { chunk, overlap, maxChunks, keep: which } = this.config;
    return batchDocuments(this.cut(tokens), { chunk, overlap, maxChunks, keep: which, labels, keys });
  }

  /** The model's own batch: a ChunkBatch, or a WindowBatch, which lies on the device and is to be released. */
  batch(tokens: readonly Int32Array[], labels?: ArrayLike<number>): ChunkBatch | WindowBatch {
    if (this.model instanceof ChunkClassifier) return this.chunkBatch(tokens, labels);
    return windowBatch(this.cut(tokens), { device: this.device });
  }

  /**
   * @param tokens ids of each document
   * @param keys a name for each, under which a frozen encoder keeps its states
   * @returns logits [B]
   */
  logits(tokens: readonly Int32Array[], keys?: readonly string[]): Tensor {
    const { model } = this;
    if (model instanceof ChunkClassifier) return model.forward(this.chunkBatch(tokens, undefined, keys));
    return model.forward(windowBatch(this.cut(tokens), { device: this.device }));
  }

  /** Mean loss of documents with labels, a scalar. */
  loss(
    tokens: readonly Int32Array[],
    labels: ArrayLike<number>,
    options: BinaryLossOptions = {},
    keys?: readonly string[],
  ): Tensor {
    const logits = this.logits(tokens, keys);
    const { dtype, device } = logits;
    return binaryLoss(logits, tensor(Float64Array.from(labels), { dtype, device }), options);
  }

  /** Logits of the documents of one batch, [B], in evaluation mode. */
  async judge(tokens: readonly Int32Array[], keys?: readonly string[]): Promise<Float64Array> {
    const { model } = this;
    const was = model.training;
    model.eval();
    const logits = noGrad(() => scope(() => keep(this.logits(tokens, keys))));
    model.train(was);
    const values = Float64Array.from(await logits.data());
    logits.release();
    return values;
  }

  /** Probabilities of class 1 for the documents of one batch, [B], in evaluation mode. */
  async probabilities(tokens: readonly Int32Array[]): Promise<Float64Array> {
    return (await this.judge(tokens)).map((x) => 1 / (1 + Math.exp(-x)));
  }

  /** What each chunk did; null for the window, which has none. */
  async explain(tokens: readonly Int32Array[]): Promise<Explanation[] | null> {
    return this.model instanceof ChunkClassifier ? this.model.explain(this.chunkBatch(tokens)) : null;
  }
}

/**
 * The untrained classifier of a configuration, on the default device, with random numbers as they come.
 *
 * @param base of the encoder gpt2: the model, which is frozen or gets adapters here
 * @throws DataError or ShapeError for chunks longer than the encoder reads, and sizes that make no model
 */
export function buildClassifier(
  config: ClassifyConfig,
  tokenizer: Pick<Tokenizer, 'size'>,
  base: GPT2 | null = null,
): Classifier {
  const { dim, heads, layers, dropout, pooling, poolingLayers, chunkGroup, sampled } = config;
  const vocabSize = tokenizer.size;
  const known = base?.shape.vocabSize ?? config.vocabSize;
  if (base ? vocabSize > known : vocabSize !== known) {
    throw new DataError(
      `classify: expected a tokenizer of ${base ? 'at most ' : ''}${known} ids, as ${base ? config.base : 'vocabSize'} has it, got one of ${vocabSize}`,
    );
  }
  if (config.encoder === 'window') {
    const { window, globals, maxTokens } = config;
    const maxLength = maxTokens ?? WINDOW_TOKENS;
    const sizes = { vocabSize, dim, heads, layers, window, globals, maxLength, dropout };
    return new Classifier(new WindowClassifier(sizes), config);
  }
  const encoder = encoderOf(config, vocabSize, base);
  if (config.chunk > encoder.maxLength) {
    throw new DataError(
      `classify: expected a chunk of at most ${encoder.maxLength} tokens, which ${config.base} reads, got ${config.chunk}; lower chunk`,
    );
  }
  const model = new ChunkClassifier(encoder, {
    pooling,
    // Places are numbers of chunks: only a document beyond this many tokens is refused.
    poolingLayers: { layers: poolingLayers, dropout, heads: divisor(encoder.dim, heads), maxPlaces: 4096 },
    dropout,
    group: chunkGroup,
    sampled,
    cache: true,
  });
  return new Classifier(model, config);
}

/** GPT-2's width need not be a multiple of the heads that the configuration asks for. */
function divisor(dim: number, heads: number): number {
  let most = Math.min(heads, dim);
  while (dim % most !== 0) most--;
  return most;
}

function encoderOf(config: ClassifyConfig, vocabSize: number, base: GPT2 | null): ChunkEncoder {
  const { encoder, dim, heads, layers, dropout, chunk, chunkState: state } = config;
  if (encoder === 'gpt2') {
    if (!base) throw new DataError("buildClassifier: expected a model for the encoder 'gpt2', got none");
    const { tune, rank, alpha, targets } = config;
    if (tune === 'frozen') base.requiresGrad_(false);
    else if (tune === 'lora') applyLora(base, { rank, alpha, targets });
    else base.requiresGrad_(true);
    return new CausalChunkEncoder(base, state === 'mean' ? 'mean' : 'last');
  }
  if (encoder === 'transformer') {
    const sizes = { vocabSize, dim, heads, layers, dropout, maxLength: chunk };
    return new TransformerChunkEncoder({ ...sizes, state: state === 'first' ? 'first' : 'mean' });
  }
  // The decoder writes nothing, so its vocabulary is the start token, which is its head, too.
  return new EncoderDecoderChunkEncoder(
    new Transformer({
      sourceVocab: vocabSize,
      targetVocab: 1,
      dim,
      heads,
      innerDim: 4 * dim,
      encoderLayers: layers,
      decoderLayers: 1,
      maxLength: chunk,
      dropout,
      activation: 'gelu',
      norm: 'pre',
      tieHead: true,
    }),
  );
}
