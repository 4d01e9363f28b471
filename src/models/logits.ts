/** From logits to the next token, on the device. */
import { add, div, mul } from '../autograd/ops/arithmetic.js';
import { reshape } from '../autograd/ops/broadcast.js';
import { to } from '../autograd/ops/cast.js';
import { gt, logicalOr } from '../autograd/ops/compare.js';
import { argmax } from '../autograd/ops/extrema.js';
import { filterLogits } from '../autograd/ops/filter-logits.js';
import { copy_ } from '../autograd/ops/in-place.js';
import { indexSelect } from '../autograd/ops/index.js';
import { oneHot } from '../autograd/ops/one-hot.js';
import { multinomial } from '../autograd/ops/random.js';
import { where } from '../autograd/ops/select.js';
import { softmax } from '../autograd/ops/softmax.js';
import type { Device } from '../device/types.js';
import { tensor } from '../tensor/factories.js';
import { scope, unscoped } from '../tensor/lifetime.js';
import { defaultGenerator, Generator } from '../tensor/random.js';
import type { Tensor } from '../tensor/tensor.js';
import type { GenerationPlan } from './generate-options.js';

/**
 * What is done to logits before a token is chosen, in this order: repetition penalty, bias and bans; then, where tokens are
 * sampled, temperature, top-k, top-p and min-p. Its state lies on the device and moves on in captured steps.
 */
export class TokenChooser {
  private readonly generator: Generator;
  /** bool [R, V]: tokens that have occurred in each sequence. */
  private seen: Tensor | null = null;
  /** [V]: what is added to the logits; `early`, while nothing may stop. */
  private readonly bias: Tensor | null;
  private readonly early: Tensor | null;

  /** @param sequences the tokens of each of the R sequences so far */
  constructor(
    private readonly plan: GenerationPlan,
    private readonly vocabSize: number,
    sequences: readonly ArrayLike<number>[],
    private readonly device: Device,
  ) {
    this.generator = plan.seed === undefined ? defaultGenerator : new Generator(plan.seed);
    this.bias = plan.bias.size > 0 ? this.row(plan.bias) : null;
    const bans = [...plan.stopIds].map((id) => [id, -Infinity] as const);
    const early = plan.minNewTokens > 0 && bans.length > 0;
    this.early = early ? this.row(new Map([...plan.bias, ...bans])) : this.bias;
    if (plan.repetitionPenalty === 1) return;
    const seen = new Uint8Array(sequences.length * vocabSize);
    sequences.forEach((tokens, r) => {
      for (let t = 0; t < tokens.length; t++) seen[r * vocabSize + tokens[t]] = 1;
    });
    this.seen = unscoped(() => tensor(seen, { shape: [sequences.length, vocabSize], dtype: 'bool', device }));
  }

  private row(values: ReadonlyMap<number, number>): Tensor {
    const row = new Float32Array(this.vocabSize);
    for (const [token, value] of values) row[token] = value;
    return unscoped(() => tensor(row, { device: this.device }));
  }

  /** Logits [R, V] with penalties, bias and bans, in float32. @param early while there are fewer than `minNewTokens` */
  process(logits: Tensor, early: boolean): Tensor {
    let x = logits.dtype === 'float16' ? to(logits, 'float32') : logits;
    if (this.seen) {
      const penalty = this.plan.repetitionPenalty;
      x = where(this.seen, where(gt(x, 0), div(x, penalty), mul(x, penalty)), x);
    }
    const bias = early ? this.early : this.bias;
    return bias ? add(x, x.dtype === bias.dtype ? bias : to(bias, x.dtype)) : x;
  }

  /** The next token of each sequence, int32 [R, 1], from logits [R, V]; it counts as seen from now on. */
  choose(logits: Tensor, early: boolean): Tensor {
    const x = this.process(logits, early);
    const token = this.plan.greedy
      ? argmax(x, { dim: -1, keepdim: true })
      : multinomial(softmax(filterLogits(x, this.plan.filter), -1), 1, {
          replacement: true,
          generator: this.generator,
        });
    this.note(token);
    return token;
  }

  /** Says that the tokens [R, 1] have been chosen. */
  note(token: Tensor): void {
    const { seen } = this;
    if (!seen) return;
    const fresh = oneHot(reshape(token, [token.shape[0]]), this.vocabSize, { dtype: 'bool' });
    copy_(seen, logicalOr(seen, fresh));
  }

  /** Puts sequence rows[r] in the place of sequence r. @param rows int32 [R] */
  reorder(rows: Tensor): void {
    const { seen } = this;
    if (seen) scope(() => copy_(seen, indexSelect(seen, 0, rows)));
  }

  release(): void {
    for (const t of new Set([this.seen, this.bias, this.early])) t?.release();
  }
}
