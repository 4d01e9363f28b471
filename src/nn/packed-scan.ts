/** A recurrent layer over packed sequences, by scans of batches without padding. */
import { reshape } from '../autograd/ops/broadcast.js';
import { to } from '../autograd/ops/cast.js';
import { cat } from '../autograd/ops/join.js';
import {
  type CellName,
  type RecurrentInputs,
  type RecurrentOutputs,
  recurrent,
} from '../autograd/ops/recurrent.js';
import { split } from '../autograd/ops/split.js';
import { narrow } from '../autograd/ops/views.js';
import type { Tensor } from '../tensor/tensor.js';

/** States of some sequences, each [count, H]; the longest sequences stand first. */
interface State {
  readonly h: Tensor;
  readonly c: Tensor | null;
}

/**
 * One layer in one direction. Where as many sequences go on, a block of steps is a plain batch; the blocks hand states on.
 * Sequences that end leave theirs behind; read from the end, they join with their initial ones.
 *
 * @param inputs projected [sum of lengths, GH], h0 and c0 [B, H] in the order of the packing
 * @param batchSizes sequences that have a step t
 * @returns output [sum of lengths, H], and the states after each sequence's own last step, [B, H]
 */
export function packedScan(
  cell: CellName,
  { projected, h0, c0, weight, bias }: RecurrentInputs,
  batchSizes: readonly number[],
  reverse: boolean,
): RecurrentOutputs {
  const { dtype } = projected;
  // States go from block to block in float32, as they do from step to step inside.
  const wide = <T extends Tensor | null | undefined>(t: T) =>
    t && dtype === 'float16' ? to(t, 'float32') : t;
  const initial: State = { h: wide(h0), c: wide(c0) ?? null };
  const shared = { weight: wide(weight), bias: wide(bias) };
  const blocks = blocksOf(batchSizes);
  const sizes = blocks.map(({ steps, count }) => steps * count);
  const parts = split(wide(projected), sizes, 0);

  const outputs = new Array<Tensor>(blocks.length);
  const ended: State[] = [];
  let state = reverse ? null : initial;
  for (let i = 0; i < blocks.length; i++) {
    const at = reverse ? blocks.length - 1 - i : i;
    const { steps, count } = blocks[at];
    const going = state?.h.shape[0] ?? 0;
    if (going > count) ended.unshift(rows(state!, count, going));
    const begun: State = going >= count ? rows(state!, 0, count) : rows(initial, going, count);
    const from: State = state && going < count ? joined([state, begun]) : begun;
    const inputs = { ...shared, projected: reshape(parts[at], [steps, count, parts[at].shape[1]]) };
    const scanned = recurrent(cell, { ...inputs, h0: from.h, c0: from.c }, { reverse });
    outputs[at] = reshape(scanned.output, [sizes[at], scanned.output.shape[2]]);
    state = scanned;
  }
  const last = joined([state!, ...ended]);
  const back = (t: Tensor) => (dtype === 'float16' ? to(t, dtype) : t);
  return { output: back(together(outputs)), h: back(last.h), c: last.c && back(last.c) };
}

function rows({ h, c }: State, from: number, to: number): State {
  if (to - from === h.shape[0]) return { h, c };
  const part = (t: Tensor) => narrow(t, 0, from, to - from);
  return { h: part(h), c: c && part(c) };
}

function joined(states: readonly State[]): State {
  return { h: together(states.map(({ h }) => h)), c: states[0].c && together(states.map(({ c }) => c!)) };
}

function together(parts: Tensor[]): Tensor {
  return parts.length === 1 ? parts[0] : cat(parts, 0);
}

/** Runs of steps that the same number of sequences have. */
function blocksOf(batchSizes: readonly number[]): { steps: number; count: number }[] {
  const blocks: { steps: number; count: number }[] = [];
  for (const count of batchSizes) {
    const last = blocks.at(-1);
    if (last?.count === count) last.steps++;
    else blocks.push({ steps: 1, count });
  }
  return blocks;
}
