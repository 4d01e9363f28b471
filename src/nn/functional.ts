/** Functions of neural networks without state: `import * as F`. */
export { elu, gelu, leakyRelu, relu, sigmoid, silu, softplus, tanh } from '../autograd/ops/activations.js';
export {
  type AttentionOptions,
  attentionPacked,
  scaledDotProductAttention,
} from '../autograd/ops/attention.js';
export { biasGelu } from '../autograd/ops/bias-gelu.js';
export { dropout } from '../autograd/ops/dropout.js';
export { dropoutAdd } from '../autograd/ops/dropout-add.js';
export { type EmbeddingOptions, embedding } from '../autograd/ops/index.js';
export { pad } from '../autograd/ops/join.js';
export { type LinearActivation, type LinearOptions, linear } from '../autograd/ops/linear.js';
export { linearCrossEntropy } from '../autograd/ops/linear-cross-entropy.js';
export {
  bceLoss,
  bceWithLogitsLoss,
  crossEntropy,
  huberLoss,
  l1Loss,
  mseLoss,
  nllLoss,
  smoothL1Loss,
} from '../autograd/ops/losses.js';
export { addLayerNorm, addRMSNorm, layerNorm, rmsNorm } from '../autograd/ops/norm-layers.js';
export { oneHot } from '../autograd/ops/one-hot.js';
export { logSoftmax, softmax } from '../autograd/ops/softmax.js';
export * as init from './init.js';
