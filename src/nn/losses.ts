/** Losses as modules: forward(input, target). */
import * as F from '../autograd/ops/losses.js';
import type { Tensor } from '../tensor/tensor.js';
import { Module } from './module.js';

/** A module of options, among them tensors that are part of its state. */
abstract class Loss<O extends F.ReductionOptions> extends Module {
  /** @param tensors names of the state: tensors of the options by their names in PyTorch */
  constructor(
    protected readonly options: O,
    tensors: Readonly<Record<string, Tensor | null | undefined>> = {},
  ) {
    super();
    for (const [name, t] of Object.entries(tensors)) if (t) this.registerBuffer(name, t);
  }

  abstract forward(input: Tensor, target: Tensor): Tensor;
}

/** −log softmax(logits)[target]. @source torch.nn.CrossEntropyLoss */
export class CrossEntropyLoss extends Loss<F.CrossEntropyOptions> {
  constructor(options: F.CrossEntropyOptions = {}) {
    super(options, { weight: options.weight });
  }

  forward(input: Tensor, target: Tensor): Tensor {
    return F.crossEntropy(input, target, this.options);
  }
}

/** −logProbs[target]. @source torch.nn.NLLLoss */
export class NLLLoss extends Loss<F.ClassOptions> {
  constructor(options: F.ClassOptions = {}) {
    super(options, { weight: options.weight });
  }

  forward(input: Tensor, target: Tensor): Tensor {
    return F.nllLoss(input, target, this.options);
  }
}

/** (input − target)². @source torch.nn.MSELoss */
export class MSELoss extends Loss<F.ReductionOptions> {
  constructor(options: F.ReductionOptions = {}) {
    super(options);
  }

  forward(input: Tensor, target: Tensor): Tensor {
    return F.mseLoss(input, target, this.options);
  }
}

/** |input − target|. @source torch.nn.L1Loss */
export class L1Loss extends Loss<F.ReductionOptions> {
  constructor(options: F.ReductionOptions = {}) {
    super(options);
  }

  forward(input: Tensor, target: Tensor): Tensor {
    return F.l1Loss(input, target, this.options);
  }
}

/** Half the square up to delta, linear beyond. @source torch.nn.HuberLoss */
export class HuberLoss extends Loss<F.ReductionOptions & { delta?: number }> {
  constructor(options: F.ReductionOptions & { delta?: number } = {}) {
    super(options);
  }

  forward(input: Tensor, target: Tensor): Tensor {
    return F.huberLoss(input, target, this.options);
  }
}

/** HuberLoss with delta = beta, divided by beta. @source torch.nn.SmoothL1Loss */
export class SmoothL1Loss extends Loss<F.ReductionOptions & { beta?: number }> {
  constructor(options: F.ReductionOptions & { beta?: number } = {}) {
    super(options);
  }

  forward(input: Tensor, target: Tensor): Tensor {
    return F.smoothL1Loss(input, target, this.options);
  }
}

/** Binary cross-entropy of probabilities. @source torch.nn.BCELoss */
export class BCELoss extends Loss<F.BinaryOptions> {
  constructor(options: F.BinaryOptions = {}) {
    super(options, { weight: options.weight });
  }

  forward(input: Tensor, target: Tensor): Tensor {
    return F.bceLoss(input, target, this.options);
  }
}

/** Binary cross-entropy of logits. @source torch.nn.BCEWithLogitsLoss */
export class BCEWithLogitsLoss extends Loss<F.BinaryOptions & { posWeight?: Tensor | null }> {
  constructor(options: F.BinaryOptions & { posWeight?: Tensor | null } = {}) {
    super(options, { weight: options.weight, pos_weight: options.posWeight });
  }

  forward(input: Tensor, target: Tensor): Tensor {
    return F.bceWithLogitsLoss(input, target, this.options);
  }
}
