/** From the states of a document's chunks to one state of the document. */
import { mul } from '../autograd/ops/arithmetic.js';
import { expand, reshape, sum } from '../autograd/ops/broadcast.js';
import { amax } from '../autograd/ops/extrema.js';
import { embedding, indexSelect } from '../autograd/ops/index.js';
import { matmul } from '../autograd/ops/matmul.js';
import { maskedFill } from '../autograd/ops/select.js';
import { softmax } from '../autograd/ops/softmax.js';
import { select, unsqueeze } from '../autograd/ops/views.js';
import { DataError, ShapeError } from '../device/errors.js';
import * as F from '../nn/functional.js';
import { Linear, Module, Parameter } from '../nn/index.js';
import { tensor } from '../tensor/factories.js';
import type { Tensor } from '../tensor/tensor.js';
import {
  checkLayerConfig,
  sinusoids,
  TransformerDecoder,
  TransformerEncoder,
  type TransformerLayerConfig,
} from './transformer-layers.js';

/** The states of chunks, document by document, filled up to the longest document. */
export interface ChunkGrid {
  /** [B, M, E]; what stands behind a document's chunks is arbitrary, and finite. */
  readonly states: Tensor;
  /** bool [B, M]: true behind a document's chunks. */
  readonly padding: Tensor;
  /** int32 [B, M]: number of the chunk within its document. */
  readonly places: Tensor;
  /** Chunks of each document, [B, 1], of the states' dtype. */
  readonly counts: Tensor;
}

/**
 * Puts rows of a list into a grid.
 *
 * @param states [N, E]
 * @param lists for each document the rows of its chunks, at least one
 * @param places number of each of these chunks within its document
 */
export function chunkGrid(
  states: Tensor,
  lists: readonly (readonly number[])[],
  places: readonly (readonly number[])[],
): ChunkGrid {
  const { device, dtype } = states;
  const B = lists.length;
  const M = Math.max(...lists.map((l) => l.length));
  const rows = new Int32Array(B * M);
  const at = new Int32Array(B * M);
  const padding = new Uint8Array(B * M).fill(1);
  lists.forEach((list, b) => {
    rows.set(list, b * M);
    at.set(places[b], b * M);
    padding.fill(0, b * M, b * M + list.length);
  });
  return {
    states: reshape(indexSelect(states, 0, tensor(rows, { device })), [B, M, states.shape[1]]),
    padding: tensor(padding, { shape: [B, M], device }),
    places: tensor(at, { shape: [B, M], device }),
    counts: tensor(
      Float64Array.from(lists, (l) => l.length),
      { shape: [B, 1], dtype, device },
    ),
  };
}

/** A layer from the grid of chunk states to document states, [B, E]. */
export abstract class ChunkPooling extends Module {
  abstract forward(grid: ChunkGrid): Tensor;
}

/** The mean over chunks: every chunk counts the same, wherever it stands. */
export class MeanPooling extends ChunkPooling {
  forward({ states, padding, counts }: ChunkGrid): Tensor {
    return sum(maskedFill(states, unsqueeze(padding, 2), 0), { dim: 1 }).div(counts);
  }
}

/** The largest value of each column: one chunk is enough, and the gradient goes to it alone. */
export class MaxPooling extends ChunkPooling {
  forward({ states, padding }: ChunkGrid): Tensor {
    return amax(maskedFill(states, unsqueeze(padding, 2), -Infinity), { dim: 1 });
  }
}

/**
 * A weighted mean, Σ aₘ·hₘ with a = softmax(q · tanh(W·hₘ + b)): what is worth reading is learned.
 *
 * @source Ilse, Tomczak, Welling: Attention-based deep multiple instance learning (2018), equation 8
 */
export class AttentionPooling extends ChunkPooling {
  readonly key: Linear;
  /** [E] */
  readonly query: Parameter;

  constructor(dim: number) {
    super();
    this.key = new Linear(dim, dim);
    this.query = F.init.normal_(Parameter.empty([dim]), { std: dim ** -0.5 });
  }

  /** What each chunk counts for, [B, M]; rows sum to 1. */
  weights({ states, padding }: ChunkGrid): Tensor {
    const scores = sum(mul(F.tanh(this.key.forward(states)), this.query), { dim: 2 });
    return softmax(maskedFill(scores, padding, -Infinity), -1);
  }

  forward(grid: ChunkGrid): Tensor {
    const [B, , E] = grid.states.shape;
    return reshape(matmul(unsqueeze(this.weights(grid), 1), grid.states), [B, E]);
  }
}

export interface PoolingLayersConfig {
  readonly heads?: number;
  readonly innerDim?: number;
  readonly layers?: number;
  readonly dropout?: number;
  /** Places there are: most chunks of a document, those not read included. Default 1024. */
  readonly maxPlaces?: number;
}

/** Waves for the places of chunks, and the layers' configuration: what the two poolings below share. */
export abstract class PlacedPooling extends ChunkPooling {
  protected readonly layer: TransformerLayerConfig;
  /** [maxPlaces, E], no part of the saved state. */
  declare readonly waves: Tensor;

  constructor(
    dim: number,
    { heads = 4, innerDim = 2 * dim, dropout = 0, maxPlaces = 1024 }: PoolingLayersConfig,
  ) {
    super();
    this.layer = {
      dim,
      heads,
      innerDim,
      dropout,
      activation: 'gelu',
      norm: 'pre',
      layerNormEps: 1e-5,
    };
    checkLayerConfig(this.layer);
    this.registerBuffer('waves', sinusoids(maxPlaces, dim), { persistent: false });
  }

  /** Chunk states with their places added, [B, M, E]. */
  protected placed({ states, places }: ChunkGrid): Tensor {
    return states.add(embedding(this.waves, places));
  }

  /** @throws ShapeError for a chunk further into its document than there are places. */
  checkPlaces(places: ArrayLike<number>): void {
    const [most] = this.waves.shape;
    for (let n = 0; n < places.length; n++) {
      if (places[n] >= most) {
        throw new ShapeError(
          `ChunkClassifier: expected documents of at most ${most} chunks, got chunk ${places[n]}; raise maxPlaces`,
        );
      }
    }
  }
}

/** A Transformer over chunks that knows where each stands, then the mean: chunks may refer to one another. */
export class TransformerPooling extends PlacedPooling {
  readonly encoder: TransformerEncoder;
  private readonly mean = new MeanPooling();

  constructor(dim: number, config: PoolingLayersConfig = {}) {
    super(dim, config);
    this.encoder = new TransformerEncoder(this.layer, config.layers ?? 1);
  }

  forward(grid: ChunkGrid): Tensor {
    return this.mean.forward({ ...grid, states: this.encoder.forward(this.placed(grid), grid.padding) });
  }
}

/** A decoder whose only token, learned, looks at the chunks' states and places. */
export class DecoderPooling extends PlacedPooling {
  readonly decoder: TransformerDecoder;
  /** [E] */
  readonly query: Parameter;

  constructor(dim: number, config: PoolingLayersConfig = {}) {
    super(dim, config);
    this.query = F.init.normal_(Parameter.empty([dim]), { std: 1 });
    this.decoder = new TransformerDecoder(this.layer, config.layers ?? 1);
  }

  forward(grid: ChunkGrid): Tensor {
    const [B, , E] = grid.states.shape;
    const query = expand(this.query, [B, 1, E]);
    return select(this.decoder.forward(query, this.placed(grid), { memoryPadding: grid.padding }), 1, 0);
  }
}

/** How chunk states become a document's state. */
export type PoolingKind = 'mean' | 'max' | 'attention' | 'transformer' | 'decoder';

/** @throws DataError for an unknown kind. */
export function makePooling(kind: PoolingKind, dim: number, config: PoolingLayersConfig = {}): ChunkPooling {
  switch (kind) {
    case 'mean':
      return new MeanPooling();
    case 'max':
      return new MaxPooling();
    case 'attention':
      return new AttentionPooling(dim);
    case 'transformer':
      return new TransformerPooling(dim, config);
    case 'decoder':
      return new DecoderPooling(dim, config);
    default:
      throw new DataError(
        `ChunkClassifier: expected pooling 'mean', 'max', 'attention', 'transformer' or 'decoder', got '${kind}'`,
      );
  }
}
