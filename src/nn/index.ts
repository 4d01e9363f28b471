/** Layers, models, losses and their first values. */
import '../autograd/methods.js';

export {
  ELU,
  GELU,
  LeakyReLU,
  LogSoftmax,
  ReLU,
  Sigmoid,
  SiLU,
  Softmax,
  Softplus,
  Tanh,
} from './activations.js';
export { type AttendOptions, MultiheadAttention, type MultiheadAttentionOptions } from './attention.js';
export { ModuleDict, ModuleList, Sequential } from './containers.js';
/** Functions of neural networks without state. */
export * as functional from './functional.js';
/** First values: each fills a tensor in place. */
export * as init from './init.js';
export { Dropout, Embedding, Flatten, Identity, type InitializeOptions, Linear } from './layers.js';
export {
  BCELoss,
  BCEWithLogitsLoss,
  CrossEntropyLoss,
  HuberLoss,
  L1Loss,
  MSELoss,
  NLLLoss,
  SmoothL1Loss,
} from './losses.js';
export {
  applyLora,
  countParameters,
  type LoraConfig,
  LoraLinear,
  type LoraModules,
  loraModules,
  loraStateDict,
  loraTargets,
  type MergeOptions,
  mergeLora,
  type ParameterCount,
  unmergeLora,
} from './lora.js';
export { type Layer, type LoadReport, Module, type StateDict } from './module.js';
export { LayerNorm, type LayerNormOptions, RMSNorm, type RMSNormOptions } from './normalization.js';
export {
  type PackedSequence,
  type PackOptions,
  type PadOptions,
  packPaddedSequence,
  packSequence,
  padPackedSequence,
  padSequence,
} from './packing.js';
export { type FactoryOptions, Parameter } from './parameter.js';
export {
  modelBytes,
  QuantizedEmbedding,
  QuantizedLinear,
  type QuantizedModules,
  type QuantizeModelOptions,
  quantizeModel,
  tiedHead,
  tiedLoss,
} from './quantized.js';
export { GRU, LSTM, type RecurrentOptions, RNN } from './recurrent.js';
export type { Targets } from './replace.js';
export { type SpaghettiActivation, SpaghettiLayer, type SpaghettiOptions } from './spaghetti.js';
export { SpaghettiNet, type SpaghettiNetOptions } from './spaghetti-net.js';
