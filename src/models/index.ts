/** The namespace `models`: whole models, one file each. */
export {
  Block,
  CausalSelfAttention,
  CharTransformer,
  type CharTransformerConfig,
} from './char-transformer.js';
