/** A model that reads prompts and then one token per sequence and step, keeping what it has read. */
import { noGrad } from '../autograd/mode.js';
import { reshape } from '../autograd/ops/broadcast.js';
import { indexSelect } from '../autograd/ops/index.js';
import { narrow } from '../autograd/ops/views.js';
import { DataError } from '../device/errors.js';
import type { Device } from '../device/types.js';
import { tensor } from '../tensor/factories.js';
import { scope } from '../tensor/lifetime.js';
import type { Tensor } from '../tensor/tensor.js';
import type { CausalLM } from './causal-lm.js';
import { KVCache } from './kv-cache.js';

/** What generation asks of it: prompts read at once, then one token of each sequence at a time. */
export interface TokenReader {
  readonly device: Device;
  /** What is kept of the tokens read. */
  readonly cache: {
    /** Makes room for T more. */
    reserve(T: number): void;
    /** Puts sequence rows[r] in the place of sequence r; rows is int32 [R]. */
    reorder(rows: Tensor): void;
  };
  /** @param copies continuations of each prompt @returns what `then` makes of the logits after their last tokens, [B·copies, V] */
  prefill<R>(copies: number, then: (logits: Tensor) => R): R;
  /** Token [R, 1] → logits [R, V]; may be captured. */
  read(token: Tensor): Tensor;
  /** Gives the memory back, and the model its mode. */
  release(): void;
}

export class Decoder implements TokenReader {
  readonly device: Device;
  readonly cache: KVCache;
  private readonly wasTraining: boolean;

  /** @param prompts as many as there are sequences, of any lengths: shorter ones are padded on the left */
  constructor(
    private readonly model: CausalLM,
    private readonly prompts: readonly ArrayLike<number>[],
  ) {
    const [parameter] = model.parameters();
    if (!parameter) throw new DataError('generate: expected a model with parameters, got none');
    this.device = parameter.device;
    const longest = Math.max(...prompts.map((p) => p.length));
    this.cache = new KVCache(model.shape, {
      batch: prompts.length,
      device: this.device,
      padding: prompts.map((p) => longest - p.length),
    });
    this.wasTraining = model.training;
    if (this.wasTraining) model.eval();
  }

  /** Reads all prompts at once. @param copies continuations of each @returns logits after their last tokens, [B·copies, V] */
  prefill<R>(copies: number, then: (logits: Tensor) => R): R {
    const T = Math.max(...this.prompts.map((p) => p.length));
    const ids = new Int32Array(this.prompts.length * T);
    this.prompts.forEach((prompt, b) => ids.set(Array.from(prompt), (b + 1) * T - prompt.length));
    return noGrad(() =>
      scope(() => {
        const tokens = tensor(ids, { shape: [this.prompts.length, T], device: this.device });
        const hidden = this.model.hidden(tokens, { cache: this.cache });
        this.cache.advance(T);
        this.cache.repeat(copies);
        const last = narrow(hidden, 1, T - 1, 1);
        const picks = Int32Array.from({ length: last.shape[0] * copies }, (_, i) => Math.floor(i / copies));
        return then(
          this.logits(copies === 1 ? last : indexSelect(last, 0, tensor(picks, { device: this.device }))),
        );
      }),
    );
  }

  /** Reads one token of each sequence, [R, 1]: what a captured step does. @returns logits [R, V] */
  read(token: Tensor): Tensor {
    const hidden = this.model.hidden(token, { cache: this.cache });
    this.cache.advance(1);
    return this.logits(hidden);
  }

  private logits(hidden: Tensor): Tensor {
    const logits = this.model.head(hidden);
    return reshape(logits, [hidden.shape[0], this.model.shape.vocabSize]);
  }

  /** Gives the cache back, and the model its mode. */
  release(): void {
    this.cache.release();
    if (this.wasTraining) this.model.train();
  }
}
