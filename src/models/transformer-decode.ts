/** Writing the target of a Transformer: greedily, or with a beam. */
import { add } from '../autograd/ops/arithmetic.js';
import { reshape } from '../autograd/ops/broadcast.js';
import { argmax } from '../autograd/ops/extrema.js';
import { indexSelect } from '../autograd/ops/index.js';
import { logSoftmax } from '../autograd/ops/softmax.js';
import { topk } from '../autograd/ops/topk.js';
import { select } from '../autograd/ops/views.js';
import { noGrad } from '../autograd/mode.js';
import { DataError } from '../device/errors.js';
import type { Device } from '../device/types.js';
import { tensor } from '../tensor/factories.js';
import { scope } from '../tensor/lifetime.js';
import type { Tensor } from '../tensor/tensor.js';
import { DecoderCache } from './transformer-cache.js';
import type { Transformer } from './transformer.js';

export interface TransformerDecodeOptions {
  /** Token that the target begins with; it is never written again. */
  readonly startToken: number;
  /** Token that ends the target. */
  readonly endToken: number;
  /** Most tokens to write, the end token included. Default: the model's maxLength. */
  readonly maxLength?: number;
  /** bool [B, S], true for padding of the source. Default: where it is the model's padToken. */
  readonly padding?: Tensor | null;
}

export interface BeamOptions extends TransformerDecodeOptions {
  /** K: beginnings that are kept per source; default 4, as in the paper. */
  readonly beams?: number;
  /**
   * α: the log-probability of a target of n tokens (end token included) is divided by ((5 + n) / 6)^α, so that long ones stand a
   * chance. Default 0.6, as in the paper; 0 compares plain probabilities.
   */
  readonly lengthPenalty?: number;
}

/** A target that a beam found. */
export interface Hypothesis {
  /** Without start and end token. */
  readonly tokens: Int32Array;
  /** log p of the tokens and the end token, in nats. */
  readonly logProbability: number;
  /** log p after the length penalty: what hypotheses are compared by. */
  readonly score: number;
  /** False where it was cut at maxLength. */
  readonly ended: boolean;
}

/**
 * The target whose every token is the most probable one after those before it. One read from the device per token.
 *
 * @param source int32 [B, S]
 * @returns for each source its tokens, without start and end token
 * @throws DataError for tokens that the model does not have, or a maxLength beyond its own.
 */
export async function greedyDecode(
  model: Transformer,
  source: Tensor,
  options: TransformerDecodeOptions,
): Promise<Int32Array[]> {
  const [B] = source.shape;
  const written: number[][] = Array.from({ length: B }, () => []);
  const open = new Set(written.keys());
  await decoding(model, source, 1, options, async ({ step, ban, maxLength, device }) => {
    let last = tensor(new Int32Array(B).fill(options.startToken), { shape: [B, 1], device });
    for (let n = 1; n <= maxLength && open.size > 0; n++) {
      const next = scope(() => noGrad(() => reshape(argmax(add(step(last), ban), { dim: -1 }), [B, 1])));
      last.release();
      last = next;
      const tokens = await next.data();
      for (const b of [...open]) {
        if (tokens[b] === options.endToken) open.delete(b);
        else written[b].push(tokens[b]);
      }
    }
    last.release();
  });
  return written.map((tokens) => Int32Array.from(tokens));
}

/** A beginning in the beam: the row of the cache that it continues, and what it has so far. */
interface Beginning {
  readonly row: number;
  readonly tokens: readonly number[];
  readonly logProbability: number;
}

/**
 * Targets found by keeping, after each token, the K most probable beginnings of each source. It ends where no beginning can beat
 * the K best targets any more, so a beam as wide as all beginnings finds the best target there is. One read from the device
 * per token.
 *
 * @param source int32 [B, S]
 * @returns for each source up to K targets, the best first
 * @throws DataError for fewer than one beam, tokens that the model does not have, or a maxLength beyond its own.
 * @source Vaswani et al. (2017), section 6.1; Wu et al. (2016), Google's neural machine translation system, equation 14
 */
export async function beamSearch(
  model: Transformer,
  source: Tensor,
  options: BeamOptions,
): Promise<Hypothesis[][]> {
  const { beams: K = 4, lengthPenalty: alpha = 0.6, startToken, endToken } = options;
  if (!(Number.isInteger(K) && K >= 1)) {
    throw new DataError(`beamSearch: expected beams to be a positive integer, got ${K}`);
  }
  if (!Number.isFinite(alpha)) {
    throw new DataError(`beamSearch: expected a finite lengthPenalty, got ${alpha}`);
  }
  const [B] = source.shape;
  const V = model.config.targetVocab;
  const penalty = (n: number): number => ((5 + n) / 6) ** alpha;
  const found: Hypothesis[][] = Array.from({ length: B }, () => []);
  // All beginnings are the same at first, so one of them is enough.
  let beam: Beginning[][] = Array.from({ length: B }, (_, b) => [
    { row: b * K, tokens: [], logProbability: 0 },
  ]);
  await decoding(model, source, K, options, async ({ step, ban, cache, maxLength, device }) => {
    for (let n = 1; n <= maxLength && beam.some((live) => live.length > 0); n++) {
      const { last, before, rows } = arrange(beam, K, startToken);
      // Every live beginning may end now, so K more candidates than beams leave K that go on.
      const count = Math.min(2 * K, K * V);
      const best = scope(() =>
        noGrad(() => {
          if (n > 1) cache.reorder(tensor(rows, { device }));
          const logits = step(tensor(last, { shape: [B * K, 1], device }));
          const scores = add(logSoftmax(logits, -1), ban);
          const total = add(scores, tensor(before, { shape: [B * K, 1], device }));
          return topk(reshape(total, [B, K * V]), count);
        }),
      );
      const [values, places] = await Promise.all([best.values.data(), best.indices.data()]);
      best.values.release();
      best.indices.release();
      beam = beam.map((live, b) => {
        const next: Beginning[] = [];
        for (let i = b * count; i < (b + 1) * count && live.length > 0; i++) {
          const logProbability = values[i];
          if (logProbability === -Infinity) break;
          const from = live[Math.floor(places[i] / V)];
          const token = places[i] % V;
          const ends = token === endToken;
          if (!ends && next.length >= K) continue;
          const tokens = ends ? from.tokens : [...from.tokens, token];
          if (!ends && n < maxLength) {
            next.push({ row: b * K + Math.floor(places[i] / V), tokens, logProbability });
          } else {
            const score = logProbability / penalty(n);
            found[b].push({ tokens: Int32Array.from(tokens), logProbability, score, ended: ends });
          }
        }
        found[b] = found[b].sort((x, y) => y.score - x.score).slice(0, K);
        if (found[b].length < K) return next;
        // Log-probabilities only fall, and are at most divided by the largest penalty to come.
        const largest = Math.max(penalty(n + 1), penalty(maxLength));
        return next.filter((x) => x.logProbability / largest > found[b][found[b].length - 1].score);
      });
    }
  });
  return found;
}

/** The beam as arrays of B·K: last tokens, log-probabilities (−∞ where there is no beginning), and rows of the cache. */
function arrange(
  beam: readonly (readonly Beginning[])[],
  K: number,
  startToken: number,
): { last: Int32Array; before: Float32Array; rows: Int32Array } {
  const size = beam.length * K;
  const last = new Int32Array(size).fill(startToken);
  const before = new Float32Array(size).fill(-Infinity);
  const rows = Int32Array.from({ length: size }, (_, i) => i);
  beam.forEach((live, b) => {
    live.forEach(({ row, tokens, logProbability }, i) => {
      last[b * K + i] = tokens.length > 0 ? tokens[tokens.length - 1] : startToken;
      before[b * K + i] = logProbability;
      rows[b * K + i] = row;
    });
  });
  return { last, before, rows };
}

interface Decoding {
  /** The logits [B·copies, V] of the tokens after `last` [B·copies, 1]. */
  step(last: Tensor): Tensor;
  /** [V], to be added: −∞ for start and padding, which are never written, else 0. */
  readonly ban: Tensor;
  readonly cache: DecoderCache;
  readonly maxLength: number;
  readonly device: Device;
}

/** Encodes the source, each row `copies` times, runs `write` with the model in eval mode, and gives all memory back. */
async function decoding(
  model: Transformer,
  source: Tensor,
  copies: number,
  options: TransformerDecodeOptions,
  write: (decoding: Decoding) => Promise<void>,
): Promise<void> {
  const { maxLength = model.config.maxLength } = options;
  checkOptions(model, options, maxLength);
  const { device } = source;
  const V = model.config.targetVocab;
  const banned = new Float32Array(V);
  for (const token of [options.startToken, model.config.padToken ?? options.startToken]) {
    if (token !== options.endToken) banned[token] = -Infinity;
  }
  const wasTraining = model.training;
  model.eval();
  const cache = new DecoderCache();
  const kept: Tensor[] = [];
  try {
    const [memory, memoryPadding, ban] = scope(() =>
      noGrad(() => {
        const { padding = model.paddingOf(source) } = options;
        const memory = model.encode(source, { padding });
        const rows = Int32Array.from({ length: copies * source.shape[0] }, (_, i) => Math.floor(i / copies));
        const copy = (t: Tensor): Tensor => (copies === 1 ? t : indexSelect(t, 0, tensor(rows, { device })));
        const ban = tensor(banned, { dtype: memory.dtype, device });
        return [copy(memory), padding && copy(padding), ban] as const;
      }),
    );
    kept.push(memory, ban);
    if (memoryPadding && memoryPadding !== options.padding) kept.push(memoryPadding);
    const step = (last: Tensor): Tensor => {
      const y = model.decode(last, memory, { cache, memoryPadding });
      return model.logits(select(y, 1, 0));
    };
    await write({ step, ban, cache, maxLength, device });
  } finally {
    cache.release();
    for (const t of kept) t.release();
    if (wasTraining) model.train();
  }
}

/** @throws DataError for tokens that the model does not have, or a maxLength beyond its own. */
function checkOptions(model: Transformer, options: TransformerDecodeOptions, maxLength: number): void {
  const { targetVocab, maxLength: most } = model.config;
  for (const name of ['startToken', 'endToken'] as const) {
    if (!(Number.isInteger(options[name]) && options[name] >= 0 && options[name] < targetVocab)) {
      throw new DataError(`decoding: expected ${name} in [0, ${targetVocab}), got ${options[name]}`);
    }
  }
  if (!(Number.isInteger(maxLength) && maxLength >= 1 && maxLength <= most)) {
    throw new DataError(
      `decoding: expected maxLength from 1 to the model's ${most}, got ${maxLength}; make the model with a larger maxLength`,
    );
  }
}
