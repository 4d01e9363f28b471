/** Chunk states in bounded memory: group by group, each forgotten after forward and computed again in backward. */
import { checkpoint } from '../autograd/checkpoint.js';
import { isGradEnabled, noGrad } from '../autograd/mode.js';
import { add, mul } from '../autograd/ops/arithmetic.js';
import { cat } from '../autograd/ops/join.js';
import { HostRandom, permutation } from '../data/random.js';
import { ShapeError } from '../device/errors.js';
import type { Device } from '../device/types.js';
import { tensor } from '../tensor/factories.js';
import { keep, scope } from '../tensor/lifetime.js';
import { defaultGenerator } from '../tensor/random.js';
import type { Tensor } from '../tensor/tensor.js';
import { type ChunkBatch, chunksOf } from './chunk-batch.js';
import type { ChunkEncoder } from './chunk-encoders.js';

export interface ChunkStatesOptions {
  /** G: chunks that are encoded together. Memory grows with it, not with documents. Default 8. */
  readonly group?: number;
  /** Whether a group's activations are dropped after forward and computed again in backward. Default true. */
  readonly checkpoint?: boolean;
  /**
   * k: gradients go through k chunks of each document, drawn anew each step, scaled by chunks / k; the others are only
   * read. The encoder's gradient is then the full one in expectation. Default: through all.
   */
  readonly sampled?: number | null;
  /** Keep the states of documents that have keys, as long as the encoder is frozen. Default false. */
  readonly cache?: boolean;
}

/** States of all chunks as a list, and where each chunk's is. */
export interface ChunkStates {
  /** [rows, E] */
  readonly states: Tensor;
  /** Row of each chunk of the batch. */
  readonly row: Int32Array;
}

/** States of documents that a frozen encoder has read, on its device. */
export class ChunkStateCache {
  private readonly documents = new Map<string, Tensor>();

  /** [chunks, E] of a document. */
  get(key: string): Tensor | undefined {
    return this.documents.get(key);
  }

  /** Takes `states` over. */
  set(key: string, states: Tensor): void {
    this.documents.get(key)?.release();
    this.documents.set(key, keep(states));
  }

  get size(): number {
    return this.documents.size;
  }

  /** Gives everything back. Call it when the encoder's weights have changed. */
  clear(): void {
    for (const t of this.documents.values()) t.release();
    this.documents.clear();
  }
}

/** Token ids and lengths of some chunks, as wide as the longest. */
function groupOf(
  { ids, lengths, chunk }: ChunkBatch,
  chunks: readonly number[],
  device: Device,
): [ids: Tensor, lengths: Tensor] {
  const T = Math.max(1, ...chunks.map((n) => lengths[n]));
  const rows = new Int32Array(chunks.length * T);
  chunks.forEach((n, g) => {
    rows.set(ids.subarray(n * chunk, n * chunk + T), g * T);
  });
  return [
    tensor(rows, { shape: [chunks.length, T], device }),
    tensor(
      Int32Array.from(chunks, (n) => lengths[n]),
      { device },
    ),
  ];
}

/** The first `k` of a document's chunks in random order; all where there are no more. */
function sample(list: readonly number[], k: number, random: HostRandom): number[] {
  if (list.length <= k) return [...list];
  return Array.from(permutation(list.length, random).subarray(0, k), (i) => list[i]);
}

/** s itself, with a gradient `factor` times as large, [G, E] and [G, 1]. */
function scaleGradient(s: Tensor, factor: Tensor): Tensor {
  // The two terms add up to s but for rounding, which must not depend on the draw: factors go to the zero difference.
  const zero = s.sub(s.detach());
  return add(s.detach(), mul(zero, factor));
}

export interface EncodeInputs extends ChunkStatesOptions {
  readonly encoder: ChunkEncoder;
  readonly cached: ChunkStateCache | null;
  readonly training: boolean;
}

/** Encodes all chunks of a batch. @throws ShapeError for chunks longer than the encoder reads. */
export function encodeChunks(batch: ChunkBatch, inputs: EncodeInputs): ChunkStates {
  const { encoder, group = 8, checkpoint: dropping = true, sampled = null, cached, training } = inputs;
  const longest = batch.lengths.reduce((a, b) => Math.max(a, b), 0);
  if (longest > encoder.maxLength) {
    throw new ShapeError(
      `ChunkClassifier: expected chunks of at most the encoder's ${encoder.maxLength} tokens, got ${longest}`,
    );
  }
  const parameters = encoder.parameters();
  const { device } = parameters[0];
  const frozen = parameters.every((p) => !p.requiresGrad);
  // A frozen encoder is a fixed function: no dropout, so that its states can be kept.
  if (frozen && encoder.training) encoder.eval();

  const lists = chunksOf(batch);
  const parts: Tensor[] = [];
  const row = new Int32Array(batch.documents.length);
  let rows = 0;
  const note = (chunks: readonly number[], states: Tensor): void => {
    for (const n of chunks) row[n] = rows++;
    parts.push(states);
  };
  /** Longer chunks first, so that short ones share groups and are padded to each other's length only. */
  const grouped = (chunks: readonly number[], run: (part: readonly number[]) => Tensor): void => {
    const order = [...chunks].sort((a, b) => batch.lengths[b] - batch.lengths[a] || a - b);
    for (let i = 0; i < order.length; i += group) {
      const part = order.slice(i, i + group);
      note(part, run(part));
    }
  };
  const read = (part: readonly number[]): Tensor =>
    noGrad(() => scope(() => encoder.states(...groupOf(batch, part, device))));

  if (frozen) {
    const { keys } = batch;
    const missing: number[] = [];
    lists.forEach((list, d) => {
      const known = cached && keys ? cached.get(keys[d]) : undefined;
      if (known) note(list, known);
      else missing.push(d);
    });
    if (cached && keys) {
      for (const d of missing) {
        if (cached.get(keys[d])) continue;
        const own = encodeFrozen(lists[d], group, read);
        cached.set(keys[d], own);
      }
      for (const d of missing) note(lists[d], cached.get(keys[d])!);
    } else
      grouped(
        missing.flatMap((d) => lists[d]),
        read,
      );
    return { states: joined(parts), row };
  }

  let trained = lists.flat();
  const factor = new Float64Array(row.length).fill(1);
  if (sampled !== null && training) {
    const { seed, counter } = defaultGenerator.draw(1);
    const random = new HostRandom((seed % 2 ** 20) * 2 ** 32 + (counter % 2 ** 32));
    const drawn = lists.map((list) => sample(list, sampled, random));
    drawn.forEach((some, d) => {
      for (const n of some) factor[n] = lists[d].length / some.length;
    });
    trained = drawn.flat();
    const chosen = new Set(trained);
    grouped(
      lists.flat().filter((n) => !chosen.has(n)),
      read,
    );
  }
  grouped(trained, (part) => {
    if (!isGradEnabled()) return read(part);
    const [ids, lengths] = groupOf(batch, part, device);
    const states = dropping
      ? checkpoint((i: Tensor, l: Tensor) => encoder.states(i, l), ids, lengths)
      : encoder.states(ids, lengths);
    if (part.every((n) => factor[n] === 1)) return states;
    const factors = Float64Array.from(part, (n) => factor[n]);
    return scaleGradient(states, tensor(factors, { shape: [part.length, 1], dtype: states.dtype, device }));
  });
  return { states: joined(parts), row };
}

function joined(parts: readonly Tensor[]): Tensor {
  return parts.length === 1 ? parts[0] : cat(parts, 0);
}

/** The states of one document's chunks in order, [chunks, E]. */
function encodeFrozen(
  list: readonly number[],
  group: number,
  read: (part: readonly number[]) => Tensor,
): Tensor {
  return noGrad(() =>
    scope(() => {
      const parts: Tensor[] = [];
      for (let i = 0; i < list.length; i += group) parts.push(read(list.slice(i, i + group)));
      return parts.length === 1 ? parts[0] : cat(parts, 0);
    }),
  );
}
