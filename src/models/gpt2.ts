/** GPT-2, module by module as its authors named it, so that weights move in and out under their own names. */

import { narrow } from '../autograd/ops/views.js';
import { ShapeError } from '../device/errors.js';
import * as F from '../nn/functional.js';
import {
  Dropout,
  Embedding,
  type InitializeOptions,
  LayerNorm,
  Linear,
  Module,
  ModuleList,
} from '../nn/index.js';
import { tiedHead, tiedLoss } from '../nn/quantized.js';
import { formatShape } from '../tensor/shape.js';
import type { Tensor } from '../tensor/tensor.js';
import type { CausalForwardOptions, CausalLM, CausalLMConfig } from './causal-lm.js';
import { checkGPT2Config, type GPT2Config } from './gpt2-config.js';
import { type PretrainedOptions, pretrainedFiles, type SavePretrainedOptions } from './pretrained.js';

/** Attention of every position to itself and those before it, in several heads. */
export class GPT2Attention extends Module {
  readonly c_attn: Linear;
  readonly c_proj: Linear;

  constructor(
    private readonly config: GPT2Config,
    private readonly layer: number,
    options: InitializeOptions = {},
  ) {
    super();
    this.c_attn = new Linear(config.dim, 3 * config.dim, options);
    this.c_proj = new Linear(config.dim, config.dim, options);
  }

  /** [B, T, C] → [B, T, C], to which `residual` is added. */
  forward(x: Tensor, { cache, keyPadding }: CausalForwardOptions, residual?: Tensor): Tensor {
    const qkv = this.c_attn.forward(x);
    const y = cache
      ? cache.attend(this.layer, qkv)
      : F.attentionPacked(qkv, this.config.heads, {
          isCausal: true,
          keyPadding,
          empty: 'zero',
          dropout: this.training ? this.config.attentionDropout : 0,
        });
    return this.c_proj.forward(y, { residual });
  }
}

/** The feed-forward layer: C → 4C → C with GELU by tanh. */
export class GPT2MLP extends Module {
  readonly c_fc: Linear;
  readonly c_proj: Linear;

  constructor({ dim, innerDim }: GPT2Config, options: InitializeOptions = {}) {
    super();
    this.c_fc = new Linear(dim, innerDim, options);
    this.c_proj = new Linear(innerDim, dim, options);
  }

  /** [B, T, C] → [B, T, C], to which `residual` is added. */
  forward(x: Tensor, residual?: Tensor): Tensor {
    return this.c_proj.forward(this.c_fc.forward(x, { activation: 'geluTanh' }), { residual });
  }
}

/** Attention and a feed-forward layer, each normalised before and added to the residual stream. */
export class GPT2Block extends Module {
  readonly ln_1: LayerNorm;
  readonly attn: GPT2Attention;
  readonly ln_2: LayerNorm;
  readonly mlp: GPT2MLP;
  readonly drop: Dropout;

  constructor(config: GPT2Config, layer: number, options: InitializeOptions = {}) {
    super();
    const norm = { ...options, eps: config.layerNormEps };
    this.ln_1 = new LayerNorm(config.dim, norm);
    this.attn = new GPT2Attention(config, layer, options);
    this.ln_2 = new LayerNorm(config.dim, norm);
    this.mlp = new GPT2MLP(config, options);
    this.drop = new Dropout(config.residualDropout);
  }

  /** [B, T, C] → [B, T, C]. */
  forward(x: Tensor, options: CausalForwardOptions): Tensor {
    // Without dropout, what is added to the stream is added where it is computed.
    const drops = this.training && this.drop.p > 0;
    const add = (y: Tensor): Tensor => (drops ? x.add(this.drop.forward(y)) : y);
    const residual = (): Tensor | undefined => (drops ? undefined : x);
    x = add(this.attn.forward(this.ln_1.forward(x), options, residual()));
    return add(this.mlp.forward(this.ln_2.forward(x), residual()));
  }
}

/** Embeddings, blocks and final norm: all of GPT-2 but the head. */
export class GPT2Transformer extends Module {
  readonly wte: Embedding;
  readonly wpe: Embedding;
  readonly drop: Dropout;
  readonly h: ModuleList<GPT2Block>;
  readonly ln_f: LayerNorm;

  constructor(
    private readonly config: GPT2Config,
    options: InitializeOptions = {},
  ) {
    super();
    const { vocabSize, contextLength, dim, layers } = config;
    this.wte = new Embedding(vocabSize, dim, options);
    this.wpe = new Embedding(contextLength, dim, options);
    this.drop = new Dropout(config.embeddingDropout);
    this.h = new ModuleList(Array.from({ length: layers }, (_, i) => new GPT2Block(config, i, options)));
    this.ln_f = new LayerNorm(dim, { ...options, eps: config.layerNormEps });
  }

  /** Token ids [B, T] → [B, T, C]. */
  forward(ids: Tensor, options: CausalForwardOptions): Tensor {
    const { contextLength } = this.config;
    const [, T] = ids.shape;
    if (ids.ndim !== 2 || T > contextLength) {
      throw new ShapeError(
        `GPT2: expected ids of shape [B, T ≤ ${contextLength}], got ${formatShape(ids.shape)}`,
      );
    }
    const at = options.positions ?? options.cache?.positions(T);
    const positions = at ? this.wpe.forward(at) : narrow(this.wpe.weight, 0, 0, T);
    let x = this.drop.forward(this.wte.forward(ids).add(positions));
    for (const block of this.h) x = block.forward(x, options);
    return this.ln_f.forward(x);
  }
}

/**
 * GPT-2: a decoder-only Transformer with learned positions, norms before each layer, and a head that shares its weight
 * with the token embedding.
 *
 * @source Radford et al., Language models are unsupervised multitask learners (2019); transformers.GPT2LMHeadModel for the names
 * @example
 * const model = new GPT2(gpt2Config('nano', { vocabSize: 2048 }));
 * const logits = model.forward(ids); // [B, T] → [B, T, V]
 */
export class GPT2 extends Module implements CausalLM {
  readonly transformer: GPT2Transformer;

  /** @param options where and as what to make the weights; `initialize: false` leaves them undefined, to be read from a file */
  constructor(
    readonly config: GPT2Config,
    { initialize = true, ...options }: InitializeOptions = {},
  ) {
    super();
    checkGPT2Config(config);
    // Layers would draw first what the model draws again.
    this.transformer = new GPT2Transformer(config, { ...options, initialize: false });
    if (initialize) this.initialize();
  }

  /**
   * The model of a folder in Hugging Face's layout, or of the Hub: the weights alone, without the tokenizer that
   * `loadGPT2` gives beside them.
   *
   * @param nameOrFolder a folder with config.json and model.safetensors, or a name like `openai-community/gpt2`
   * @throws DataError naming the setting or the tensor that does not suit, or outside Node.js
   * @source transformers.PreTrainedModel.from_pretrained
   */
  static async fromPretrained(nameOrFolder: string, options: PretrainedOptions = {}): Promise<GPT2> {
    return (await pretrainedFiles('GPT2.fromPretrained').load(nameOrFolder, options)) as GPT2;
  }

  /**
   * Writes config.json and model.safetensors as Hugging Face's classes read them.
   *
   * @source transformers.PreTrainedModel.save_pretrained
   */
  async savePretrained(folder: string, options: SavePretrainedOptions = {}): Promise<void> {
    await pretrainedFiles('GPT2.savePretrained').save(folder, this, options);
  }

  get shape(): CausalLMConfig {
    return this.config;
  }

  /** Normal weights of deviation 0.02, the ends of residual branches smaller by √(2·layers), biases zero. */
  private initialize(): void {
    const { initializerRange: std, layers } = this.config;
    for (const [name, p] of this.namedParameters()) {
      if (/\.ln_/.test(name)) continue;
      if (name.endsWith('bias')) F.init.zeros_(p);
      else
        F.init.normal_(p, {
          mean: 0,
          std: name.endsWith('c_proj.weight') ? std / Math.sqrt(2 * layers) : std,
        });
    }
  }

  hidden(ids: Tensor, options: CausalForwardOptions = {}): Tensor {
    return this.transformer.forward(ids, options);
  }

  head(x: Tensor): Tensor {
    return tiedHead(this.transformer.wte, x);
  }

  forward(ids: Tensor, options: CausalForwardOptions = {}): Tensor {
    return this.head(this.hidden(ids, options));
  }

  /** The logits of all positions never exist at once. */
  loss(ids: Tensor, targets: Tensor, options: CausalForwardOptions = {}): Tensor {
    return tiedLoss(this.transformer.wte, this.hidden(ids, options), targets);
  }
}
