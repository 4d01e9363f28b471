/** LoRA: a frozen linear layer plus a product of two thin matrices, which alone are trained. */
import { executeInPlace } from '../autograd/op.js';
import { noGrad } from '../autograd/mode.js';
import { add, mul } from '../autograd/ops/arithmetic.js';
import { clone } from '../autograd/ops/broadcast.js';
import { dropout } from '../autograd/ops/dropout.js';
import { type LinearOptions, linearActivations } from '../autograd/ops/linear.js';
import { matmul } from '../autograd/ops/matmul.js';
import { dequantize } from '../autograd/ops/quantized.js';
import type { DType } from '../device/dtype.js';
import { DataError, ShapeError } from '../device/errors.js';
import type { Device } from '../device/types.js';
import { copyProgram } from '../kernels/copy.js';
import { scope } from '../tensor/lifetime.js';
import type { Tensor } from '../tensor/tensor.js';
import { zeros_ } from './init.js';
import { Linear } from './layers.js';
import { Module, type StateDict } from './module.js';
import { QuantizedEmbedding, QuantizedLinear } from './quantized.js';
import { findTargets, replaceModule, type Targets } from './replace.js';

export interface LoraConfig {
  /** r: inner size of the product, usually 4 to 64. */
  readonly rank: number;
  /** α: the product is scaled by α / r. Default 2·r. */
  readonly alpha?: number;
  /** Probability of dropping an element of what the adapter reads, in training. Default 0. */
  readonly dropout?: number;
  /** Which linear layers get an adapter. Default 'all-linear'. */
  readonly targets?: Targets;
  /** Scale by α / √r instead, so that large ranks learn as fast. Default false. @source Kalajdzievski (2023), rsLoRA */
  readonly rankStabilized?: boolean;
}

/** The numbers of a configuration, checked. */
interface Settings {
  readonly rank: number;
  readonly alpha: number;
  readonly dropout: number;
  readonly rankStabilized: boolean;
}

/** @throws ShapeError for numbers that make no adapter. */
function checkSettings({
  rank,
  alpha = 2 * rank,
  dropout = 0,
  rankStabilized = false,
}: LoraConfig): Settings {
  if (!(Number.isInteger(rank) && rank > 0)) {
    throw new ShapeError(`applyLora: expected rank to be a positive integer, got ${rank}`);
  }
  if (!(alpha > 0 && Number.isFinite(alpha))) {
    throw new ShapeError(`applyLora: expected alpha to be a positive number, got ${alpha}`);
  }
  if (!(dropout >= 0 && dropout < 1)) {
    throw new ShapeError(`applyLora: expected dropout in [0, 1), got ${dropout}`);
  }
  return { rank, alpha, dropout, rankStabilized };
}

/** What floats beside a layer are made as. */
function factoryOf(base: Linear | QuantizedLinear): { dtype: DType; device: Device } {
  return base instanceof Linear ? { dtype: base.weight.dtype, device: base.weight.device } : base.factory;
}

/**
 * y = x·Wᵀ + b + s·(x·Aᵀ)·Bᵀ with W and b frozen, A [r, in] and B [out, r]. B is zero at first, so that nothing changes
 * until training does; s is α / r.
 *
 * @source Hu et al. (2021), LoRA: low-rank adaptation of large language models; names as peft.tuners.lora.Linear has them
 */
export class LoraLinear extends Module {
  readonly lora_A: Linear;
  readonly lora_B: Linear;
  readonly rank: number;
  readonly alpha: number;
  readonly rankStabilized: boolean;
  /** Probability of dropping an element of the adapter's input. */
  readonly dropout: number;
  /** W before it was merged, a buffer that is not saved: subtracting would not give its bits back. */
  declare private original: Tensor | null | undefined;

  constructor(
    readonly base_layer: Linear | QuantizedLinear,
    config: LoraConfig,
  ) {
    super();
    const { rank, alpha, dropout, rankStabilized } = checkSettings(config);
    this.rank = rank;
    this.alpha = alpha;
    this.dropout = dropout;
    this.rankStabilized = rankStabilized;
    base_layer.requiresGrad_(false);
    const { inFeatures, outFeatures } = base_layer;
    const options = { bias: false, ...factoryOf(base_layer) };
    // A's first values are those of any linear layer.
    this.lora_A = new Linear(inFeatures, rank, options);
    this.lora_B = new Linear(rank, outFeatures, { ...options, initialize: false });
    zeros_(this.lora_B.weight);
    this.train(base_layer.training);
  }

  get inFeatures(): number {
    return this.base_layer.inFeatures;
  }

  get outFeatures(): number {
    return this.base_layer.outFeatures;
  }

  /** s: what the product is scaled by. */
  get scaling(): number {
    return this.alpha / (this.rankStabilized ? Math.sqrt(this.rank) : this.rank);
  }

  /** Whether W holds the adapter's product. */
  get merged(): boolean {
    return Boolean(this.original);
  }

  /** As Linear's: [..., in] → [..., out]. The sums are made where the products are: an adapter adds no pass over y. */
  forward(x: Tensor, options: LinearOptions = {}): Tensor {
    const { base_layer: base, scaling } = this;
    if (this.merged) return base.forward(x, options);
    const { activation = null, residual = null } = options;
    let h = this.lora_A.forward(dropout(x, this.dropout, this.training));
    if (scaling !== 1) h = mul(h, scaling);
    if (!activation) return base.forward(x, { residual: this.lora_B.forward(h, { residual }) });
    const y = linearActivations[activation](base.forward(x, { residual: this.lora_B.forward(h) }));
    return residual ? add(y, residual) : y;
  }

  /** s·B·A, [out, in]. */
  product(): Tensor {
    return noGrad(() => mul(matmul(this.lora_B.weight, this.lora_A.weight), this.scaling));
  }

  /**
   * Adds the product to W, so that the layer costs what it cost before. Keeps the old W for `unmerge`.
   *
   * @throws DataError for quantised weights, whose codes cannot hold the sum
   */
  merge(): void {
    if (this.merged) return;
    const { base_layer: base } = this;
    if (base instanceof QuantizedLinear) {
      throw new DataError(
        'mergeLora: expected float weights, got quantised ones, whose codes cannot hold the sum; pass { unload: true } to get float layers',
      );
    }
    const { weight } = base;
    scope(() => {
      this.registerBuffer(
        'original',
        noGrad(() => clone(weight)),
        { persistent: false },
      );
      executeInPlace(copyProgram, [noGrad(() => add(weight, this.product()))], [weight], null);
    });
  }

  /** Takes the product out of W again: every bit is as it was. */
  unmerge(): void {
    if (!this.original) return;
    executeInPlace(copyProgram, [this.original], [(this.base_layer as Linear).weight], null);
    this.forgetOriginal();
  }

  /** A plain layer with the product in it, which takes over what the base has. */
  mergedLayer(): Linear {
    const { base_layer: base } = this;
    if (base instanceof Linear) {
      this.merge();
      this.forgetOriginal();
      return base;
    }
    const { inFeatures, outFeatures, bias } = base;
    const plain = new Linear(inFeatures, outFeatures, {
      bias: bias !== null,
      initialize: false,
      ...factoryOf(base),
    });
    plain.requiresGrad_(false).train(base.training);
    scope(() => {
      const sum = noGrad(() => add(dequantize(base.quantized), this.product()));
      executeInPlace(copyProgram, [sum], [plain.weight], null);
      if (bias) executeInPlace(copyProgram, [bias], [plain.bias!], null);
    });
    base.release();
    return plain;
  }

  private forgetOriginal(): void {
    this.original?.release();
    this.original = null;
  }
}

/** What applying adapters made. */
export interface LoraModules extends ParameterCount {
  /** The layers that have an adapter now, by name. */
  readonly modules: ReadonlyMap<string, LoraLinear>;
}

export interface ParameterCount {
  /** Elements of parameters that have a gradient. */
  readonly trainable: number;
  /** Elements of all parameters, also quantised ones. */
  readonly total: number;
  /** trainable / total */
  readonly share: number;
}

/** How many parameters a model has, and how many of them train; shared ones count once. */
export function countParameters(model: Module): ParameterCount {
  const trainable = model.numParameters({ trainable: true });
  let total = model.numParameters();
  for (const m of model.modules()) {
    if (m instanceof QuantizedLinear || m instanceof QuantizedEmbedding) total += m.numWeights;
  }
  return { trainable, total, share: total > 0 ? trainable / total : 0 };
}

function canAdapt(module: Module): module is Linear | QuantizedLinear {
  return module instanceof Linear || module instanceof QuantizedLinear;
}

/** The layers of a model that have adapters, by name. */
export function loraModules(model: Module): Map<string, LoraLinear> {
  return new Map(
    model.namedModules().filter((entry): entry is [string, LoraLinear] => entry[1] instanceof LoraLinear),
  );
}

/**
 * The layers that adapters would go to.
 *
 * @throws DataError for targets that name no linear layer, and for models that have adapters
 */
export function loraTargets(
  model: Module,
  targets: Targets = 'all-linear',
): Map<string, Linear | QuantizedLinear> {
  if (loraModules(model).size > 0) {
    throw new DataError(
      'applyLora: expected a model without adapters, got one that has some; merge or remove them first, with { unload: true }',
    );
  }
  return findTargets('applyLora', model, targets, canAdapt);
}

/**
 * Gives linear layers of a model adapters, in place, and freezes everything else: an optimizer gets the parameters that are
 * left, `model.parameters().filter((p) => p.requiresGrad)`.
 *
 * @throws DataError where targets match nothing, with the layers that there are, or adapters are there already;
 * ShapeError for numbers out of
 *   range
 * @source peft.get_peft_model
 * @example
 * applyLora(model, { rank: 8, alpha: 16, targets: ['c_attn'] });
 */
export function applyLora(model: Module, config: LoraConfig): LoraModules {
  checkSettings(config);
  const targets = loraTargets(model, config.targets);
  model.requiresGrad_(false);
  const modules = new Map<string, LoraLinear>();
  for (const [name, base] of targets) {
    const layer = new LoraLinear(base, config);
    replaceModule(model, name, layer);
    modules.set(name, layer);
  }
  return { modules, ...countParameters(model) };
}

/** @throws DataError for models without adapters. */
function adapted(op: string, model: Module): Map<string, LoraLinear> {
  const modules = loraModules(model);
  if (modules.size > 0) return modules;
  throw new DataError(`${op}: expected a model with adapters, got none; call applyLora first`);
}

export interface MergeOptions {
  /** Also puts plain layers in the places of those with adapters. Default false. */
  readonly unload?: boolean;
}

/**
 * Adds the adapters' products to the weights: the model computes the same with as few operations as before. The old
 * weights are kept for
 * `unmergeLora`, unless `unload` makes the model a plain one, which can be saved like any other.
 *
 * @throws DataError without adapters, and on quantised weights unless `unload` turns them into floats
 * @source peft.LoraModel.merge_adapter, merge_and_unload
 */
export function mergeLora(model: Module, { unload = false }: MergeOptions = {}): void {
  for (const [name, layer] of adapted('mergeLora', model)) {
    if (unload) replaceModule(model, name, layer.mergedLayer());
    else layer.merge();
  }
}

/**
 * Takes the adapters' products out of the weights again: every bit is as before. With `unload` the adapters go, too.
 *
 * @throws DataError without adapters
 * @source peft.LoraModel.unmerge_adapter, unload
 */
export function unmergeLora(model: Module, { unload = false }: MergeOptions = {}): void {
  for (const [name, layer] of adapted('unmergeLora', model)) {
    layer.unmerge();
    if (unload) replaceModule(model, name, layer.base_layer);
  }
}

/**
 * The adapters' parameters by name, `….lora_A.weight` and `….lora_B.weight`; `model.loadStateDict(state, { strict: false })`
 * takes them back.
 *
 * @throws DataError without adapters
 * @source peft.get_peft_model_state_dict
 */
export function loraStateDict(model: Module): StateDict {
  const state: StateDict = new Map();
  for (const [name, layer] of adapted('loraStateDict', model)) {
    state.set(`${name}.lora_A.weight`, layer.lora_A.weight);
    state.set(`${name}.lora_B.weight`, layer.lora_B.weight);
  }
  return state;
}
