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
export { recurrentPack, recurrentPackBackward } from './recurrent-tile';
export { lstm, lstmBackward } from './lstm';
export { gru, gruBackward } from './gru';
export { rnn, rnnBackward } from './rnn';
export {
  attentionForward, attentionBackward, attentionRow, attentionScratchBytes, attentionBackwardScratchBytes,
  attentionRowScratchBytes,
} from './attention';
export {
  square, rsqrt, sign, floor, ceil, round, trunc, log1p, expm1, sin, cos, clamp, leakyRelu, elu, softplus,
  pow, eq, ne, lt, le, eqInt, neInt, ltInt, leInt, and, or, xor, where,
  clampBackward, leakyReluBackward, eluBackward, softplusBackward,
} from './elementwise';
export { widenFloat16, narrowFloat16 } from './float16';
export { fillWords, copyStrided, selectRows, addRows, cumsum } from './gather';
export {
  decodeScales, matmulInt8, matmulNF4, matmulTransposedInt8, matmulTransposedNF4, quantizedScratchBytes,
} from './quantized';
export {
  sumAbs, norm, countNonZero, variance, maxOf, minOf, maxAbs, minAbs, argmax, argmin, logSumExp,
} from './reduce';
export { rmsNorm, rmsNormBackward, rmsNormAffine } from './rms-norm';
export { sparseDots, sparseSums } from './sparse';
export { addScaled, sgd, sgdMomentum, adam } from './update';
