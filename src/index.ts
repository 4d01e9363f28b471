/**
 * dawngrad: tensors and gradients in TypeScript, on a GPU through WebGPU or on the CPU.
 *
 * Everything here also works in browsers; what needs Node.js is in `dawngrad/node`.
 *
 * @module dawngrad
 */
// Adds the operations to Tensor as methods.
import './autograd/methods.js';

export { type AutocastOptions, autocast } from './autograd/autocast.js';
export { type Captured, type CaptureOptions, type CaptureStats, capture } from './autograd/capture.js';
export { checkpoint } from './autograd/checkpoint.js';
export { type BackwardOptions, backward } from './autograd/engine.js';
// Gradients
/** Gradients beyond `loss.backward()`, their checks, and operations of your own. */
export * as autograd from './autograd/index.js';
export { enableGrad, isGradEnabled, noGrad, setDebug } from './autograd/mode.js';
export type { Hook } from './autograd/node.js';
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
// Matrix products
export {
  type AttentionOptions,
  attentionPacked,
  scaledDotProductAttention,
} from './autograd/ops/attention.js';
export { biasGelu } from './autograd/ops/bias-gelu.js';
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
// Reductions and scans
export { cumsum } from './autograd/ops/cumsum.js';
// Networks
export { dropout } from './autograd/ops/dropout.js';
export { dropoutAdd } from './autograd/ops/dropout-add.js';
export {
  type ArgOptions,
  amax,
  amin,
  argmax,
  argmin,
  type Extremum,
  max,
  min,
} from './autograd/ops/extrema.js';
export { type FilterLogitsOptions, filterLogits } from './autograd/ops/filter-logits.js';
// Joining and picking
export {
  type EmbeddingOptions,
  embedding,
  gather,
  indexAdd,
  indexSelect,
  scatterAdd,
  takeAlongDim,
} from './autograd/ops/index.js';
export { cat, flip, pad, repeat, roll, stack } from './autograd/ops/join.js';
export { type LinearActivation, type LinearOptions, linear } from './autograd/ops/linear.js';
export { type LinearCrossEntropyOptions, linearCrossEntropy } from './autograd/ops/linear-cross-entropy.js';
export {
  type BinaryOptions,
  bceLoss,
  bceWithLogitsLoss,
  type ClassOptions,
  type CrossEntropyOptions,
  crossEntropy,
  huberLoss,
  l1Loss,
  mseLoss,
  nllLoss,
  type ReductionOptions,
  smoothL1Loss,
} from './autograd/ops/losses.js';
export { dot, matmul, outer } from './autograd/ops/matmul.js';
export { maximum, minimum } from './autograd/ops/maximum.js';
export { mean } from './autograd/ops/mean.js';
export { type NormOptions, norm } from './autograd/ops/norm.js';
export {
  addLayerNorm,
  addRMSNorm,
  type LayerNormOptions,
  layerNorm,
  type RMSNormOptions,
  rmsNorm,
} from './autograd/ops/norm-layers.js';
export { oneHot } from './autograd/ops/one-hot.js';
export { floorDivide, pow, remainder } from './autograd/ops/power.js';
export {
  dequantize,
  type QuantizedLinearOptions,
  type QuantizedScheme,
  type QuantizedWeight,
  type QuantizeOptions,
  quantize,
  quantizedEmbedding,
  quantizedLinear,
} from './autograd/ops/quantized.js';
export {
  bernoulli,
  multinomial,
  type RandomOptions,
  rand,
  randint,
  randLike,
  randn,
  randnLike,
  randperm,
} from './autograd/ops/random.js';
export { all, any, prod } from './autograd/ops/reduce.js';
export { ceil, clamp, floor, round, sign, trunc } from './autograd/ops/rounding.js';
export { maskedFill, where } from './autograd/ops/select.js';
export { logSoftmax, softmax } from './autograd/ops/softmax.js';
export { sparseLinear } from './autograd/ops/sparse-linear.js';
export { chunk, split, unbind } from './autograd/ops/split.js';
export { logsumexp, std, type VarOptions, var_, var_ as var } from './autograd/ops/statistics.js';
export { type TopkOptions, topk } from './autograd/ops/topk.js';
export { tril, triu } from './autograd/ops/triangle.js';
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
export {
  flatten,
  narrow,
  permute,
  select,
  slice,
  squeeze,
  transpose,
  unflatten,
  unsqueeze,
} from './autograd/ops/views.js';
export { type ProfileOptions, profile } from './autograd/profile.js';
export type { HostSpan, ProfiledStep, ProfileReport, ProfileRow } from './autograd/profile-report.js';
export { type WireTensors, Wiring } from './autograd/wiring.js';
// Everything above this layer
/** Texts, vocabularies, batches, count baselines, and the safetensors format in memory. Files are in `dawngrad/node`. */
export * as data from './data/index.js';
export type { CPUDevice } from './device/cpu/device.js';
// Devices
export type { DType } from './device/dtype.js';
export { DryDevice, type DryOptions } from './device/dry.js';
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
export type { HostPart, Phase } from './device/tracing.js';
export type {
  Capture,
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
  ProfiledDispatch,
  Profiling,
  Program,
  Recording,
  SimdBinary,
  SimdBinaryWith,
  SimdModule,
  SimdUnary,
  SimdUnaryWith,
  SimdView,
  SubgroupMatrix,
  View,
  WgslType,
  Work,
} from './device/types.js';
export type { AdapterDescription } from './device/webgpu/adapter.js';
export {
  type MatmulRule,
  type MatmulTable,
  type MatmulVariant,
  setMatmulTable,
} from './kernels/matmul-variants.js';
/** Whole models, one file each. */
export * as models from './models/index.js';
/** Layers, containers, losses, and what makes modules. */
export * as nn from './nn/index.js';
/** Optimizers, learning-rate schedules, gradient clipping. */
export * as optim from './optim/index.js';
export { cpuDevice, defaultDevice, openDevice, setDefaultDevice } from './tensor/default-device.js';
// Tensors and their lives
export { type TensorOptions, tensor } from './tensor/factories.js';
export type { NestedArray } from './tensor/host.js';
export { keep, memory, scope, unscoped } from './tensor/lifetime.js';
export { synchronize } from './tensor/pending.js';
export type { TextOptions } from './tensor/print.js';
export { Generator, manualSeed, type RandomState } from './tensor/random.js';
export type { Shape } from './tensor/shape.js';
export { type GradFn, Tensor, type TensorData } from './tensor/tensor.js';
/** What of training works in browsers too. The loop with its files is in `dawngrad/node`. */
export * as train from './train/index.js';
