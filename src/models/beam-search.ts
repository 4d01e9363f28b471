/** Beam search: the most probable sequence among those that stayed near the top all the way. */
import { capture } from '../autograd/capture.js';
import { noGrad } from '../autograd/mode.js';
import { add } from '../autograd/ops/arithmetic.js';
import { reshape } from '../autograd/ops/broadcast.js';
import { logSoftmax } from '../autograd/ops/softmax.js';
import { topk } from '../autograd/ops/topk.js';
import { tensor } from '../tensor/factories.js';
import { scope } from '../tensor/lifetime.js';
import type { Tensor } from '../tensor/tensor.js';
import type { TokenReader } from './decoder.js';
import type { GenerationPlan } from './generate-options.js';
import type { TokenChooser } from './logits.js';

/** The best continuations of each prompt, [P, 2K]: sums of log-probabilities, and beam · V + token. */
interface Candidates {
  readonly values: Tensor;
  readonly indices: Tensor;
}

interface Hypothesis {
  readonly tokens: readonly number[];
  /** Sum of log-probabilities over length to the penalty. */
  readonly score: number;
}

interface Beam {
  readonly tokens: readonly number[];
  /** Sum of log-probabilities. */
  readonly sum: number;
}

const NO_BEAM: Beam = { tokens: [0], sum: -Infinity };

/** The beams of a prompt, and what they have led to. */
class Search {
  beams: Beam[] = [{ tokens: [], sum: 0 }];
  done = false;
  private readonly finished: Hypothesis[] = [];

  constructor(
    private readonly plan: GenerationPlan,
    private readonly vocabSize: number,
  ) {}

  /**
   * Takes the 2K best continuations, best first: enough for K that go on even if K others stop.
   * @returns for each of the K beams of the next step, the beam that it continues
   */
  advance(values: ArrayLike<number>, indices: ArrayLike<number>): number[] {
    const { numBeams, stopIds } = this.plan;
    const next: Beam[] = [];
    const parents: number[] = [];
    for (let i = 0; i < values.length && next.length < numBeams; i++) {
      // Banned, or from a row that stands for no beam.
      if (values[i] === -Infinity) break;
      const parent = Math.floor(indices[i] / this.vocabSize);
      const token = indices[i] % this.vocabSize;
      const { tokens } = this.beams[parent];
      if (stopIds.has(token)) {
        // Its stop counts for the score, and is left out. Behind K better ones it would never win.
        if (i < numBeams) this.finish(tokens, values[i], tokens.length + 1);
      } else {
        next.push({ tokens: [...tokens, token], sum: values[i] });
        parents.push(parent);
      }
    }
    if (next.length === 0) {
      this.done = true;
      return Array.from({ length: numBeams }, () => 0);
    }
    this.beams = next;
    const best = this.finished[numBeams - 1]?.score ?? -Infinity;
    this.done = this.finished.length >= numBeams && best >= this.scoreOf(next[0].sum, next[0].tokens.length);
    // Where stops and bans leave fewer, the other rows stand for no beam.
    while (parents.length < numBeams) parents.push(parents[0]);
    return parents;
  }

  private scoreOf(sum: number, length: number): number {
    return sum / length ** this.plan.lengthPenalty;
  }

  private finish(tokens: readonly number[], sum: number, length: number): void {
    this.finished.push({ tokens, score: this.scoreOf(sum, length) });
    this.finished.sort((a, b) => b.score - a.score);
    this.finished.splice(this.plan.numBeams);
  }

  /** The best sequences, best first: those that stopped, and, unless the search was decided before, those that ran out of length. */
  best(count: number): readonly Hypothesis[] {
    if (!this.done) for (const { tokens, sum } of this.beams) this.finish(tokens, sum, tokens.length);
    return this.finished.slice(0, count);
  }
}

/**
 * The `numSequences` best continuations of each of P prompts, by the sum of log-probabilities over length^`lengthPenalty`.
 * The device keeps K rows per prompt and ranks their continuations; the host sees 2K of them per step.
 *
 * @source Graves (2012); Wu et al., Google's neural machine translation system (2016), section 7, for the length
 */
export async function* beamSearch(
  decoder: TokenReader,
  chooser: TokenChooser,
  prompts: number,
  vocabSize: number,
  plan: GenerationPlan,
): AsyncGenerator<{ prompt: number; sequence: number; token: number }, void, undefined> {
  const { numBeams: K, maxNewTokens, minNewTokens } = plan;
  const { device, cache } = decoder;
  const searches = Array.from({ length: prompts }, () => new Search(plan, vocabSize));
  const rank = (logits: Tensor, sums: Tensor, early: boolean): Candidates => {
    const all = add(logSoftmax(chooser.process(logits, early), -1), sums);
    const { values, indices } = topk(reshape(all, [prompts, -1]), 2 * K);
    return { values, indices };
  };
  const step = capture(
    (tokens: Tensor, parents: Tensor, sums: Tensor, early: boolean) =>
      noGrad(() => {
        cache.reorder(parents);
        chooser.reorder(parents);
        chooser.note(tokens);
        return rank(decoder.read(tokens), sums, early);
      }),
    { device },
  );
  /** The last tokens of all rows; rows without a beam come to nothing. */
  const beams = (): Beam[] =>
    searches.flatMap((search) =>
      Array.from({ length: K }, (_, k) => (search.done ? null : search.beams[k]) ?? NO_BEAM),
    );
  const sumsOf = (rows: readonly Beam[]): Tensor =>
    tensor(
      Float32Array.from(rows, (b) => b.sum),
      { shape: [rows.length, 1], device },
    );
  const made = new Set<Candidates>();
  try {
    let candidates = decoder.prefill(K, (logits) => rank(logits, sumsOf(beams()), minNewTokens > 0));
    for (let count = 1; ; count++) {
      const [values, indices] = await Promise.all([candidates.values.data(), candidates.indices.data()]);
      made.add(candidates);
      const parents = searches.flatMap((search, p) => {
        const at = p * 2 * K;
        const own = search.done
          ? new Array<number>(K).fill(0)
          : search.advance(values.slice(at, at + 2 * K), indices.slice(at, at + 2 * K));
        return own.map((beam) => p * K + beam);
      });
      if (count === maxNewTokens || searches.every((search) => search.done)) break;
      const rows = beams();
      cache.reserve(1);
      candidates = scope(() =>
        step(
          tensor(
            Int32Array.from(rows, ({ tokens }) => tokens[tokens.length - 1]),
            { shape: [rows.length, 1], device },
          ),
          tensor(Int32Array.from(parents), { device }),
          sumsOf(rows),
          count < minNewTokens,
        ),
      );
    }
    for (const [prompt, search] of searches.entries()) {
      for (const [sequence, { tokens }] of search.best(plan.numSequences).entries()) {
        for (const token of tokens) yield { prompt, sequence, token };
      }
    }
  } finally {
    step.release();
    for (const { values, indices } of made) {
      values.release();
      indices.release();
    }
  }
}
