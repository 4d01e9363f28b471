/** The namespace `models`: whole models, one file each. */

export type { CausalForwardOptions, CausalLM, CausalLMConfig } from './causal-lm.js';
export {
  Block,
  CausalSelfAttention,
  CharTransformer,
  type CharTransformerConfig,
} from './char-transformer.js';
export {
  GPT2,
  GPT2Attention,
  GPT2Block,
  GPT2MLP,
  GPT2Transformer,
} from './gpt2.js';
export { GPT2_SIZES, type GPT2Config, type GPT2Size, gpt2Config } from './gpt2-config.js';
export { KVCache } from './kv-cache.js';
