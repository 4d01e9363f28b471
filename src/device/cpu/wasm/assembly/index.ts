/** The exports of the CPU device's WebAssembly module. Addresses are in bytes, sizes and strides in elements. */
export { matmul, matmulScratchBytes } from './matmul';
export {
  neg, abs, sqrt, relu, exp, log, sigmoid, tanh, erf, geluTanh, gelu, silu, reciprocal,
  add, sub, mul, div, maximum, minimum, geluTanhBackward, geluBackward, reluBackward,
  tanhBackward, sigmoidBackward, siluBackward, scale,
} from './pointwise';
export { copy } from './copy';
export {
  sumRows, sumPart, sumSquares, softmax, softmaxBackward, logSoftmax, logSoftmaxBackward, layerNorm,
  layerNormBackwardInput, layerNormBackwardParameters,
} from './rows';
export { adamw } from './optim';
export { dropout, uniform } from './random';
export { crossEntropy, crossEntropyBackward } from './cross-entropy';
export { loadU32, loadF32, storeF32 } from './memory';
