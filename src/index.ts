/**
 * dawngrad: tensors and gradients in TypeScript, on a GPU through WebGPU or on the CPU.
 *
 * Everything here also works in browsers; what needs Node.js is in `dawngrad/node`.
 *
 * @packageDocumentation
 */
// Adds the operations to Tensor as methods.
import './autograd/methods.js';

// Devices
export type { DType } from './device/dtype.js';
export {
  DataError,
  DawngradError,
  DeviceError,
  DTypeError,
  GradError,
  ReleasedTensorError,
  ShapeError,
} from './device/errors.js';
export { type DeviceSurvey, type OpenOptions, surveyDevices } from './device/open.js';
export type {
  Device,
  DeviceBuffer,
  DeviceInfo,
  DeviceStats,
  Dispatch,
  HostArray,
  Kernel,
  KernelCall,
  KernelTarget,
  MemoryStats,
  Program,
  SimdBinary,
  SimdModule,
  SimdUnary,
  SimdView,
  View,
  WgslType,
} from './device/types.js';
export type { CPUDevice } from './device/cpu/device.js';
export type { AdapterDescription } from './device/webgpu/adapter.js';
export { cpuDevice, defaultDevice, openDevice, setDefaultDevice } from './tensor/default-device.js';
export { synchronize } from './tensor/pending.js';

// Tensors and their lives
export { tensor, type TensorOptions } from './tensor/factories.js';
export type { NestedArray } from './tensor/host.js';
export { keep, memory, scope, unscoped } from './tensor/lifetime.js';
export { Generator, manualSeed, type RandomState } from './tensor/random.js';
export type { Shape } from './tensor/shape.js';
export type { TextOptions } from './tensor/print.js';
export { type GradFn, Tensor, type TensorData } from './tensor/tensor.js';
export {
  arange,
  eye,
  full,
  fullLike,
  linspace,
  ones,
  onesLike,
  zeros,
  zerosLike,
} from './autograd/ops/creation.js';
export {
  bernoulli,
  multinomial,
  rand,
  randint,
  randLike,
  randn,
  randnLike,
  type RandomOptions,
  randperm,
} from './autograd/ops/random.js';

// Gradients
export * as autograd from './autograd/index.js';
export { backward, type BackwardOptions } from './autograd/engine.js';
export type { Hook } from './autograd/node.js';
export { checkpoint } from './autograd/checkpoint.js';
export { enableGrad, isGradEnabled, noGrad, setDebug } from './autograd/mode.js';

// Views
export {
  clone,
  contiguous,
  expand,
  type ReduceOptions,
  reshape,
  sum,
  view,
} from './autograd/ops/broadcast.js';
export {
  chunk,
  flatten,
  narrow,
  permute,
  select,
  slice,
  split,
  squeeze,
  transpose,
  unbind,
  unflatten,
  unsqueeze,
} from './autograd/ops/views.js';

// Elementwise
export {
  elu,
  gelu,
  leakyRelu,
  relu,
  sigmoid,
  silu,
  softplus,
  tanh,
} from './autograd/ops/activations.js';
export { add, div, mul, neg, sub } from './autograd/ops/arithmetic.js';
export {
  eq,
  ge,
  gt,
  isFinite,
  isInf,
  isNaN,
  le,
  logicalAnd,
  logicalNot,
  logicalOr,
  logicalXor,
  lt,
  ne,
} from './autograd/ops/compare.js';
export { maximum, minimum } from './autograd/ops/maximum.js';
export { floorDivide, pow, remainder } from './autograd/ops/power.js';
export { ceil, clamp, floor, round, sign, trunc } from './autograd/ops/rounding.js';
export { maskedFill, where } from './autograd/ops/select.js';
export {
  abs,
  cos,
  erf,
  exp,
  expm1,
  log,
  log1p,
  reciprocal,
  rsqrt,
  sin,
  sqrt,
  square,
} from './autograd/ops/unary.js';

// Reductions and scans
export { cumsum } from './autograd/ops/cumsum.js';
export {
  amax,
  amin,
  argmax,
  argmin,
  type ArgOptions,
  type Extremum,
  max,
  min,
} from './autograd/ops/extrema.js';
export { mean } from './autograd/ops/mean.js';
export { norm, type NormOptions } from './autograd/ops/norm.js';
export { all, any, prod } from './autograd/ops/reduce.js';
export { topk, type TopkOptions } from './autograd/ops/topk.js';
export { logsumexp, std, var_, var_ as var, type VarOptions } from './autograd/ops/statistics.js';

// Matrix products
export { type AttentionOptions, scaledDotProductAttention } from './autograd/ops/attention.js';
export { dot, linear, matmul, outer } from './autograd/ops/matmul.js';

// Joining and picking
export {
  embedding,
  type EmbeddingOptions,
  gather,
  indexAdd,
  indexSelect,
  scatterAdd,
  takeAlongDim,
} from './autograd/ops/index.js';
export { cat, flip, pad, repeat, roll, stack } from './autograd/ops/join.js';
export { oneHot } from './autograd/ops/one-hot.js';
export { tril, triu } from './autograd/ops/triangle.js';

// Networks
export { dropout } from './autograd/ops/dropout.js';
export {
  bceLoss,
  bceWithLogitsLoss,
  type BinaryOptions,
  type ClassOptions,
  crossEntropy,
  type CrossEntropyOptions,
  huberLoss,
  l1Loss,
  mseLoss,
  nllLoss,
  type ReductionOptions,
  smoothL1Loss,
} from './autograd/ops/losses.js';
export {
  layerNorm,
  type LayerNormOptions,
  rmsNorm,
  type RMSNormOptions,
} from './autograd/ops/norm-layers.js';
export { logSoftmax, softmax } from './autograd/ops/softmax.js';

// Everything above this layer
export * as data from './data/index.js';
export * as models from './models/index.js';
export * as nn from './nn/index.js';
export * as optim from './optim/index.js';
export * as train from './train/index.js';
