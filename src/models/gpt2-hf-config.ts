/** GPT-2's config.json, as Hugging Face writes it, to our settings and back. */
import { z } from 'zod';
import { DataError } from '../device/errors.js';
import type { GPT2Config } from './gpt2-config.js';

const count = z.int().positive();
/** Names of tensors are listed layer by layer, before any file is read: a number that is none would fill all memory. */
const MOST_LAYERS = 10_000;
const probability = z.number().min(0).max(1);

/** The settings that give the model its shape. */
const schema = z.object({
  vocab_size: count,
  n_positions: count,
  n_embd: count,
  n_layer: count.max(MOST_LAYERS),
  n_head: count,
  n_inner: count.nullish(),
  layer_norm_epsilon: z.number().positive().default(1e-5),
  initializer_range: z.number().positive().default(0.02),
  embd_pdrop: probability.default(0.1),
  attn_pdrop: probability.default(0.1),
  resid_pdrop: probability.default(0.1),
});

/** Settings that change what is computed, with the values that our GPT-2 computes; absent ones are fine. */
const SUPPORTED: Readonly<Record<string, readonly unknown[]>> = {
  model_type: ['gpt2'],
  activation_function: ['gelu_new', 'gelu_pytorch_tanh'],
  scale_attn_weights: [true],
  scale_attn_by_inverse_layer_idx: [false],
  // Only the order of float16 products: the result in exact arithmetic is the same, but ours is another order.
  reorder_and_upcast_attn: [false],
  add_cross_attention: [false],
  is_encoder_decoder: [false],
  is_decoder: [true, false],
  tie_word_embeddings: [true],
  quantization_config: [null],
  pruned_heads: [null],
};

/**
 * The model that a config.json describes.
 *
 * @param json the parsed file
 * @param where the file's name, for messages
 * @param options `dropout`: what to have in place of the file's
 * @throws DataError naming every setting that is missing, malformed or unsupported
 * @source transformers.GPT2Config
 */
export function gpt2ConfigFromHF(
  json: unknown,
  where = 'config.json',
  { dropout }: { dropout?: number } = {},
): GPT2Config {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new DataError(`${where}: expected a JSON object with the settings of GPT-2`);
  }
  const settings = json as Record<string, unknown>;
  const faults: string[] = [];
  for (const [name, values] of Object.entries(SUPPORTED)) {
    const value = settings[name];
    if (value === undefined || values.includes(value)) continue;
    if (value === null || isEmpty(value)) continue;
    faults.push(`${name}: expected ${values.map(show).join(' or ')}, got ${show(value)}`);
  }
  if (settings.model_type === undefined && settings.n_embd === undefined) {
    faults.push('model_type: expected "gpt2", got nothing');
  }
  const parsed = schema.safeParse(settings);
  if (!parsed.success) {
    for (const { path, message } of parsed.error.issues) faults.push(`${path.join('.')}: ${message}`);
  }
  if (faults.length > 0) {
    throw new DataError(
      `${where}: expected a GPT-2 that dawngrad computes, got settings that it does not:\n  ${faults.join('\n  ')}`,
    );
  }
  const hf = parsed.data!;
  return {
    vocabSize: hf.vocab_size,
    contextLength: hf.n_positions,
    dim: hf.n_embd,
    layers: hf.n_layer,
    heads: hf.n_head,
    innerDim: hf.n_inner ?? 4 * hf.n_embd,
    layerNormEps: hf.layer_norm_epsilon,
    initializerRange: hf.initializer_range,
    embeddingDropout: dropout ?? hf.embd_pdrop,
    attentionDropout: dropout ?? hf.attn_pdrop,
    residualDropout: dropout ?? hf.resid_pdrop,
  };
}

/** The config.json that Hugging Face's classes read. @param endOfText the tokenizer's id, null for none */
export function gpt2ConfigToHF(
  config: GPT2Config,
  { endOfText, torchDType }: { endOfText: number | null; torchDType: string },
): Record<string, unknown> {
  return {
    activation_function: 'gelu_new',
    architectures: ['GPT2LMHeadModel'],
    attn_pdrop: config.attentionDropout,
    bos_token_id: endOfText,
    embd_pdrop: config.embeddingDropout,
    eos_token_id: endOfText,
    initializer_range: config.initializerRange,
    layer_norm_epsilon: config.layerNormEps,
    model_type: 'gpt2',
    n_ctx: config.contextLength,
    n_embd: config.dim,
    n_head: config.heads,
    n_inner: config.innerDim === 4 * config.dim ? null : config.innerDim,
    n_layer: config.layers,
    n_positions: config.contextLength,
    reorder_and_upcast_attn: false,
    resid_pdrop: config.residualDropout,
    scale_attn_by_inverse_layer_idx: false,
    scale_attn_weights: true,
    tie_word_embeddings: true,
    torch_dtype: torchDType,
    use_cache: true,
    vocab_size: config.vocabSize,
  };
}

function isEmpty(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0;
}

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}
