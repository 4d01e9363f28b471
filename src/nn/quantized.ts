/** Layers with weights of 8 or 4 bits, which stay as they are: gradients pass through them. */
import { checkpoint } from '../autograd/checkpoint.js';
import { noGrad } from '../autograd/mode.js';
import { add, div } from '../autograd/ops/arithmetic.js';
import { reshape, sum } from '../autograd/ops/broadcast.js';
import { to } from '../autograd/ops/cast.js';
import { ne } from '../autograd/ops/compare.js';
import { type LinearOptions, linear } from '../autograd/ops/linear.js';
import { linearCrossEntropy } from '../autograd/ops/linear-cross-entropy.js';
import { crossEntropy } from '../autograd/ops/losses.js';
import {
  dequantize,
  type QuantizedScheme,
  type QuantizedWeight,
  type QuantizeOptions,
  quantize,
  quantizedEmbedding,
  quantizedLinear,
} from '../autograd/ops/quantized.js';
import { narrow } from '../autograd/ops/views.js';
import { type DType, ITEM_SIZE } from '../device/dtype.js';
import { DataError } from '../device/errors.js';
import type { Device } from '../device/types.js';
import type { Tensor } from '../tensor/tensor.js';
import { Embedding, Linear } from './layers.js';
import { Module } from './module.js';
import type { Parameter } from './parameter.js';
import { findTargets, replaceModule, type Targets } from './replace.js';

/** Holds a quantised matrix as buffers, so that it is saved and moved with the model. */
abstract class Quantized extends Module {
  /** Codes, uint32 [out, in / 4] (int8) or [out, in / 8] (nf4). */
  declare readonly weight_packed: Tensor;
  /** Scales of blocks, float32; or their codes, uint32. */
  declare readonly weight_scales: Tensor;
  /** What the codes of scales stand for; null where scales are floats. */
  declare readonly weight_groups: Tensor | null;
  readonly scheme: QuantizedScheme;
  readonly block: number;

  constructor(weight: QuantizedWeight) {
    super();
    this.scheme = weight.scheme;
    this.block = weight.block;
    this.registerBuffer('weight_packed', weight.packed);
    this.registerBuffer('weight_scales', weight.scales);
    if (weight.groups) this.registerBuffer('weight_groups', weight.groups);
  }

  /** The matrix as the functions take it. */
  get quantized(): QuantizedWeight {
    const { weight_packed: packed, weight_scales: scales, weight_groups: groups, scheme, block } = this;
    return { packed, scales, groups, scheme, block };
  }

  /** What floats beside it are made as. */
  get factory(): { dtype: DType; device: Device } {
    const { dtype, device } = this.weight_groups ?? this.weight_scales;
    return { dtype, device };
  }

  /** Elements of the matrix. */
  get numWeights(): number {
    return this.weight_packed.numel * (this.scheme === 'int8' ? 4 : 8);
  }

  /** The matrix as floats, [out, in]. */
  dequantize(): Tensor {
    return noGrad(() => dequantize(this.quantized));
  }

  /** Gives the memory back; the layer is of no use afterwards. */
  release(): void {
    for (const t of this.buffers()) t.release();
  }
}

/**
 * y = activation(x·Wᵀ + b) + residual with W [out, in] in 8 or 4 bits. Neither W nor b is trained; gradients go to x
 * and the residual.
 *
 * @source bitsandbytes.nn.Linear4bit, Linear8bitLt; Dettmers et al. (2023), QLoRA
 */
export class QuantizedLinear extends Quantized {
  readonly inFeatures: number;
  readonly outFeatures: number;

  constructor(
    weight: QuantizedWeight,
    /** [out] */
    readonly bias: Parameter | null = null,
  ) {
    super(weight);
    if (bias) bias.requiresGrad = false;
    this.outFeatures = weight.packed.shape[0];
    this.inFeatures = this.numWeights / this.outFeatures;
  }

  /** A layer with the weights of another one, which stays as it is; they share the bias. */
  static async from(layer: Linear, options: QuantizeOptions = {}): Promise<QuantizedLinear> {
    return new QuantizedLinear(await quantize(layer.weight, options), layer.bias);
  }

  /** [..., in] → [..., out]; bias and residual are added in the same operation. */
  forward(x: Tensor, options: LinearOptions = {}): Tensor {
    return quantizedLinear(x, this.quantized, { ...options, bias: this.bias });
  }
}

/**
 * Rows of a table W [V, C] in 8 or 4 bits by index. Not trained.
 *
 * @source bitsandbytes.nn.Embedding4bit
 */
export class QuantizedEmbedding extends Quantized {
  readonly numEmbeddings: number;
  readonly embeddingDim: number;

  constructor(weight: QuantizedWeight) {
    super(weight);
    this.numEmbeddings = weight.packed.shape[0];
    this.embeddingDim = this.numWeights / this.numEmbeddings;
  }

  /** A table with the rows of another one, which stays as it is. */
  static async from(table: Embedding, options: QuantizeOptions = {}): Promise<QuantizedEmbedding> {
    return new QuantizedEmbedding(await quantize(table.weight, options));
  }

  /** int32 or uint32 of any shape → the same with C at its end. @throws ShapeError for an index out of range. */
  forward(indices: Tensor): Tensor {
    return quantizedEmbedding(this.quantized, indices);
  }
}

/** The scores of a head that shares its weight with a token embedding: x [..., C] → [..., V]. */
export function tiedHead(table: Embedding | QuantizedEmbedding, x: Tensor): Tensor {
  return table instanceof QuantizedEmbedding ? quantizedLinear(x, table.quantized) : linear(x, table.weight);
}

/** Scores that exist at a time: 32 MB of them. Fewer rows would make floats of the table more often. */
const SCORES = 2 ** 23;

/**
 * The mean cross-entropy of `tiedHead` against classes, without the scores of all rows and words ever existing;
 * targets of −100 do not count.
 *
 * @param x [..., C]
 * @param targets [...], int32 or uint32
 */
export function tiedLoss(table: Embedding | QuantizedEmbedding, x: Tensor, targets: Tensor): Tensor {
  if (!(table instanceof QuantizedEmbedding)) return linearCrossEntropy(x, table.weight, targets);
  const rows = reshape(x, [-1, table.embeddingDim]);
  const classes = reshape(targets, [-1]);
  const count = classes.numel;
  const step = Math.max(1, Math.floor(SCORES / table.numEmbeddings));
  if (count <= step) return crossEntropy(tiedHead(table, rows), classes);
  // The table is a constant, so rows can be cut into parts whose scores backward computes again.
  const part = (h: Tensor, t: Tensor): Tensor => crossEntropy(tiedHead(table, h), t, { reduction: 'sum' });
  let total: Tensor | null = null;
  for (let at = 0; at < count; at += step) {
    const length = Math.min(step, count - at);
    const loss = checkpoint(part, narrow(rows, 0, at, length), narrow(classes, 0, at, length));
    total = total ? add(total, loss) : loss;
  }
  return div(total!, sum(to(ne(classes, -100), total!.dtype)));
}

/** Bytes of a model's parameters and buffers; shared ones count once. */
export function modelBytes(model: Module): number {
  const tensors = [...model.parameters(), ...model.buffers()];
  return tensors.reduce((bytes, t) => bytes + t.numel * ITEM_SIZE[t.dtype], 0);
}

export interface QuantizeModelOptions extends QuantizeOptions {
  /** Default true for nf4, false for int8, whose scales are few beside its codes. */
  readonly doubleQuant?: boolean;
  /** Which linear layers. Default 'all-linear'. */
  readonly targets?: Targets;
  /**
   * Which embeddings: only those whose model reads them through `forward`, `tiedHead` and `tiedLoss`. Default those
   * named 'wte', GPT-2's
   * tokens, where there are such; false for none.
   */
  readonly embeddings?: readonly string[] | RegExp | false;
  /** Called before each layer with its name and how many are done. */
  readonly onProgress?: (name: string, done: number, of: number) => void;
}

export interface QuantizedModules {
  /** The layers that are quantised now, by name. */
  readonly modules: ReadonlyMap<string, QuantizedLinear | QuantizedEmbedding>;
  /** Bytes of all parameters and buffers of the model. */
  readonly bytesBefore: number;
  readonly bytesAfter: number;
}

/** The longest block, up to `most`, that divides a row of `width` weights. @throws DataError where there is none. */
function blockFor(name: string, width: number, most: number): number {
  for (let block = most - (most % 16); block >= 16; block -= 16) if (width % block === 0) return block;
  throw new DataError(
    `quantizeModel: expected layers whose rows are multiples of 16 long, got '${name}' with ${width}; leave it out of the targets`,
  );
}

const isLinear = (m: Module): m is Linear => m instanceof Linear;
const isEmbedding = (m: Module): m is Embedding => m instanceof Embedding;

/** The embeddings that are wanted. */
function findEmbeddings(model: Module, wanted: QuantizeModelOptions['embeddings']): Map<string, Embedding> {
  if (wanted === false) return new Map();
  if (wanted) return findTargets('quantizeModel', model, wanted, isEmbedding);
  const named = model.namedModules().filter((e): e is [string, Embedding] => isEmbedding(e[1]));
  return new Map(named.filter(([name]) => /(^|\.)wte$/.test(name)));
}

/** @throws DataError where a weight that is to be released has another owner. */
function checkOwners(model: Module, layers: ReadonlyMap<string, Linear | Embedding>): void {
  const names = new Map<Tensor, string[]>();
  for (const [name, t] of model.stateDict()) names.set(t, [...(names.get(t) ?? []), name]);
  for (const { weight } of layers.values()) {
    const owners = names.get(weight)!;
    if (owners.length > 1) {
      throw new DataError(
        `quantizeModel: expected layers with weights of their own, got one that ${owners.join(' and ')} share; leave them out of the targets`,
      );
    }
  }
}

/**
 * Replaces linear layers of a model, and token embeddings, by ones of 8 or 4 bits, in place and one at a time; the
 * float weights are
 * released. An optimizer that knows them is of no use afterwards. Everything is done before adapters are applied.
 *
 * @throws DataError where targets match nothing, a row's length is no multiple of 16, or a weight is shared
 * @source bitsandbytes; Dettmers et al. (2023), QLoRA, section 3
 * @example
 * await quantizeModel(model, { scheme: 'nf4' });
 * applyLora(model, { rank: 8 });
 */
export async function quantizeModel(
  model: Module,
  options: QuantizeModelOptions = {},
): Promise<QuantizedModules> {
  const {
    scheme = 'nf4',
    block = 64,
    doubleQuant = scheme === 'nf4',
    targets,
    embeddings,
    onProgress,
  } = options;
  const layers = new Map<string, Linear | Embedding>([
    ...findTargets('quantizeModel', model, targets ?? 'all-linear', isLinear),
    ...findEmbeddings(model, embeddings),
  ]);
  const adapter = [...layers.keys()].find((name) => /\.lora_[AB]$/.test(name));
  if (adapter) {
    throw new DataError(
      `quantizeModel: expected a model without adapters, got '${adapter}'; quantise first, then apply or load adapters`,
    );
  }
  checkOwners(model, layers);
  const blocks = new Map(
    [...layers].map(([name, { weight }]) => [name, blockFor(name, weight.shape[1], block)] as const),
  );
  const bytesBefore = modelBytes(model);
  const modules = new Map<string, QuantizedLinear | QuantizedEmbedding>();
  for (const [name, layer] of layers) {
    onProgress?.(name, modules.size, layers.size);
    const how = { scheme, block: blocks.get(name)!, doubleQuant };
    const made =
      layer instanceof Linear
        ? await QuantizedLinear.from(layer, how)
        : await QuantizedEmbedding.from(layer, how);
    made.train(layer.training);
    replaceModule(model, name, made);
    layer.weight.release();
    modules.set(name, made);
  }
  return { modules, bytesBefore, bytesAfter: modelBytes(model) };
}
