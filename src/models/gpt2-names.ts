/** GPT-2's tensors as Hugging Face's files have them. */
import type { GPT2Config } from './gpt2-config.js';

export interface StoredTensor {
  /** Sizes in the file. */
  readonly shape: readonly number[];
  /** Conv1D keeps its weight as [in, out], Linear as [out, in]. */
  readonly transposed: boolean;
}

/** Before the names in files of `GPT2LMHeadModel`; files of `GPT2Model` have none. */
export const PREFIX = 'transformer.';
/** The head's weight, the same tensor as the token embedding. */
export const HEAD = 'lm_head.weight';
export const EMBEDDING = 'wte.weight';

/** Names, without prefix, of what old files hold beside weights: the causal mask, and −10⁴. */
export const IGNORED = /^h\.\d+\.attn\.(bias|masked_bias)$/;

/** All tensors of a model by name, without prefix. */
export function storedTensors({
  vocabSize: V,
  contextLength,
  layers,
  dim: C,
  innerDim: I,
}: GPT2Config): Map<string, StoredTensor> {
  const all = new Map<string, StoredTensor>();
  const add = (name: string, ...shape: number[]): void => void all.set(name, { shape, transposed: false });
  const norm = (name: string): void => {
    add(`${name}.weight`, C);
    add(`${name}.bias`, C);
  };
  const conv1d = (name: string, inSize: number, outSize: number): void => {
    all.set(`${name}.weight`, { shape: [inSize, outSize], transposed: true });
    add(`${name}.bias`, outSize);
  };
  add(EMBEDDING, V, C);
  add('wpe.weight', contextLength, C);
  for (let i = 0; i < layers; i++) {
    norm(`h.${i}.ln_1`);
    conv1d(`h.${i}.attn.c_attn`, C, 3 * C);
    conv1d(`h.${i}.attn.c_proj`, C, C);
    norm(`h.${i}.ln_2`);
    conv1d(`h.${i}.mlp.c_fc`, C, I);
    conv1d(`h.${i}.mlp.c_proj`, I, C);
  }
  norm('ln_f');
  return all;
}
