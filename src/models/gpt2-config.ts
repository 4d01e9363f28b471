/** Sizes of GPT-2. */
import { ShapeError } from '../device/errors.js';
import type { CausalLMConfig } from './causal-lm.js';

export interface GPT2Config extends CausalLMConfig {
  /** Width of the feed-forward layer, 4·dim. */
  readonly innerDim: number;
  readonly layerNormEps: number;
  readonly initializerRange: number;
  readonly embeddingDropout: number;
  readonly attentionDropout: number;
  readonly residualDropout: number;
}

/** Layers, heads and width by name; 'nano' and 'mini' are ours, the others those of the paper (table 2). */
const SIZES = {
  nano: { layers: 4, heads: 4, dim: 128, contextLength: 256 },
  mini: { layers: 6, heads: 6, dim: 384, contextLength: 256 },
  gpt2: { layers: 12, heads: 12, dim: 768, contextLength: 1024 },
  'gpt2-medium': { layers: 24, heads: 16, dim: 1024, contextLength: 1024 },
  'gpt2-large': { layers: 36, heads: 20, dim: 1280, contextLength: 1024 },
  'gpt2-xl': { layers: 48, heads: 25, dim: 1600, contextLength: 1024 },
} as const;

export type GPT2Size = keyof typeof SIZES;
export const GPT2_SIZES = Object.keys(SIZES) as GPT2Size[];

/** The configuration of a size, with changes. */
export function gpt2Config(size: GPT2Size, changes: Partial<GPT2Config> = {}): GPT2Config {
  const known = SIZES[size];
  if (!known) throw new ShapeError(`gpt2Config: expected one of ${GPT2_SIZES.join(', ')}, got ${size}`);
  const dim = changes.dim ?? known.dim;
  return {
    ...known,
    vocabSize: 50_257,
    innerDim: 4 * dim,
    layerNormEps: 1e-5,
    initializerRange: 0.02,
    embeddingDropout: 0,
    attentionDropout: 0,
    residualDropout: 0,
    ...changes,
  };
}

/** @throws ShapeError for sizes that make no model. */
export function checkGPT2Config(config: GPT2Config): void {
  for (const name of ['vocabSize', 'contextLength', 'layers', 'heads', 'dim', 'innerDim'] as const) {
    if (!(Number.isInteger(config[name]) && config[name] > 0)) {
      throw new ShapeError(`GPT2: expected ${name} to be a positive integer, got ${config[name]}`);
    }
  }
  if (config.dim % config.heads !== 0) {
    throw new ShapeError(`GPT2: expected heads that divide dim ${config.dim}, got ${config.heads}`);
  }
}
