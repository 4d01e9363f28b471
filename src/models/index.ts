/** The namespace `models`: whole models, one file each. */

export type { CausalForwardOptions, CausalLM, CausalLMConfig } from './causal-lm.js';
export { CharLSTM, type CharLSTMConfig, type LSTMState } from './char-lstm.js';
export {
  Block,
  CausalSelfAttention,
  CharTransformer,
  type CharTransformerConfig,
} from './char-transformer.js';
export {
  type BatchDocumentsOptions,
  batchDocuments,
  type ChunkBatch,
  type ChunkOptions,
  type ChunkSpan,
  chunkCount,
  chunkSpans,
} from './chunk-batch.js';
export {
  type BinaryLossOptions,
  binaryLoss,
  ChunkClassifier,
  type ChunkClassifierOptions,
  type Explanation,
} from './chunk-classifier.js';
export {
  CausalChunkEncoder,
  type ChunkEncoder,
  EncoderDecoderChunkEncoder,
  type TransformerChunkConfig,
  TransformerChunkEncoder,
} from './chunk-encoders.js';
export { chunkMemory, measureStep, type StepMemory } from './chunk-memory.js';
export {
  AttentionPooling,
  type ChunkGrid,
  ChunkPooling,
  DecoderPooling,
  MaxPooling,
  MeanPooling,
  type PoolingKind,
  type PoolingLayersConfig,
  TransformerPooling,
} from './chunk-pooling.js';
export { ChunkStateCache, type ChunkStatesOptions } from './chunk-states.js';
export { type GeneratedToken, type GenerateTextOptions, generate, generateText } from './generate.js';
export type { GenerateOptions } from './generate-options.js';
export {
  GPT2,
  GPT2Attention,
  GPT2Block,
  GPT2MLP,
  GPT2Transformer,
} from './gpt2.js';
export { GPT2_SIZES, type GPT2Config, type GPT2Size, gpt2Config } from './gpt2-config.js';
export { KVCache, type KVCacheOptions } from './kv-cache.js';
export type { PretrainedOptions, PretrainedProgress, SavePretrainedOptions } from './pretrained.js';
export type { RecurrentLM } from './recurrent-lm.js';
export {
  type DecodeInputs,
  type SequenceInputs,
  Transformer,
  type TransformerConfig,
} from './transformer.js';
export { DecoderCache } from './transformer-cache.js';
export {
  type BeamOptions,
  beamSearch,
  greedyDecode,
  type Hypothesis,
  type TransformerDecodeOptions,
} from './transformer-decode.js';
export {
  type DecoderLayerOptions,
  sinusoids,
  TransformerDecoder,
  TransformerDecoderLayer,
  TransformerEncoder,
  TransformerEncoderLayer,
  type TransformerLayerConfig,
} from './transformer-layers.js';
export {
  type WindowBatch,
  WindowClassifier,
  type WindowConfig,
  type WindowLayer,
  windowBatch,
} from './window-classifier.js';
