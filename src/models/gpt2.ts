/** GPT-2, module by module as its authors named it, so that weights move in and out under their own names. */

import { narrow } from '../autograd/ops/views.js';
import { ShapeError } from '../device/errors.js';
import * as F from '../nn/functional.js';
import { Dropout, Embedding, LayerNorm, Linear, Module, ModuleList } from '../nn/index.js';
import { formatShape } from '../tensor/shape.js';
import type { Tensor } from '../tensor/tensor.js';
import type { CausalForwardOptions, CausalLM, CausalLMConfig } from './causal-lm.js';
import { checkGPT2Config, type GPT2Config } from './gpt2-config.js';

/** Attention of every position to itself and those before it, in several heads. */
export class GPT2Attention extends Module {
  readonly c_attn: Linear;
  readonly c_proj: Linear;

  constructor(
    private readonly config: GPT2Config,
    private readonly layer: number,
  ) {
    super();
    this.c_attn = new Linear(config.dim, 3 * config.dim);
    this.c_proj = new Linear(config.dim, config.dim);
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

  constructor({ dim, innerDim }: GPT2Config) {
    super();
    this.c_fc = new Linear(dim, innerDim);
    this.c_proj = new Linear(innerDim, dim);
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

  constructor(config: GPT2Config, layer: number) {
    super();
    this.ln_1 = new LayerNorm(config.dim, { eps: config.layerNormEps });
    this.attn = new GPT2Attention(config, layer);
    this.ln_2 = new LayerNorm(config.dim, { eps: config.layerNormEps });
    this.mlp = new GPT2MLP(config);
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

  constructor(private readonly config: GPT2Config) {
    super();
    const { vocabSize, contextLength, dim, layers } = config;
    this.wte = new Embedding(vocabSize, dim);
    this.wpe = new Embedding(contextLength, dim);
    this.drop = new Dropout(config.embeddingDropout);
    this.h = new ModuleList(Array.from({ length: layers }, (_, i) => new GPT2Block(config, i)));
    this.ln_f = new LayerNorm(dim, { eps: config.layerNormEps });
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

  constructor(readonly config: GPT2Config) {
    super();
    checkGPT2Config(config);
    this.transformer = new GPT2Transformer(config);
    this.initialize();
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
    return F.linear(x, this.transformer.wte.weight);
  }

  forward(ids: Tensor, options: CausalForwardOptions = {}): Tensor {
    return this.head(this.hidden(ids, options));
  }

  /** The logits of all positions never exist at once. */
  loss(ids: Tensor, targets: Tensor, options: CausalForwardOptions = {}): Tensor {
    return F.linearCrossEntropy(this.hidden(ids, options), this.transformer.wte.weight, targets);
  }
}
