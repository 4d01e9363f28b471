/** The namespace `models`: whole models, one file each. */
export { CharTransformer, type CharTransformerConfig } from './char-transformer.js';
