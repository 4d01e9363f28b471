/** What of a distribution is worth sampling from. */
import { DataError, ShapeError } from '../../device/errors.js';
import { type FilterParams, filterLogitsHost, filterLogitsKernel } from '../../kernels/filter-logits.js';
import type { Tensor } from '../../tensor/tensor.js';
import { defineOp } from '../op.js';
import { checkDType } from './define.js';

export interface FilterLogitsOptions {
  /** Logits are divided by it: below 1 the likely becomes likelier. Default 1. */
  temperature?: number;
  /** Keep the k largest, and whatever equals the k-th. 0 (default) or more than there are: all. */
  topK?: number;
  /** Keep the largest whose probabilities together reach this share, and whatever equals the last. Default 1: all. */
  topP?: number;
  /** Keep what is at least this share as probable as the most probable. Default 0: all. */
  minP?: number;
}

const filterOp = defineOp<[Tensor], FilterParams>({
  name: 'filterLogits',
  autocast: 'full',
  infer([x]) {
    checkDType('filterLogits', x.dtype, 'float');
    if (x.shape.length === 0) throw new ShapeError('filterLogits: expected logits [..., V], got a scalar');
    return { shape: x.shape, dtype: x.dtype };
  },
  host: filterLogitsHost,
  kernel: filterLogitsKernel,
  differentiable: false,
});

/** @throws DataError for a setting that makes no sense, which it names after `op`. @internal */
export function checkFilter(op: string, options: FilterLogitsOptions): void {
  const { temperature = 1, topK = 0, topP = 1, minP = 0 } = options;
  const check = (ok: boolean, name: string, wanted: string, got: number) => {
    if (!ok) throw new DataError(`${op}: expected ${name} ${wanted}, got ${got}`);
  };
  check(temperature > 0 && temperature < Infinity, 'a temperature', 'above 0', temperature);
  check(Number.isInteger(topK) && topK >= 0, 'topK', 'to be an integer of 0 (all) or more', topK);
  check(topP >= 0 && topP <= 1, 'topP', 'in [0, 1]', topP);
  check(minP >= 0 && minP <= 1, 'minP', 'in [0, 1]', minP);
}

/**
 * Logits over the temperature, with −∞ for what is not among the top k, then not among the top p of what is left, or less
 * than minP times as probable as the most probable. The most probable always stays, and so do equals of the last one kept.
 *
 * @param logits [..., V]
 * @returns [..., V]; softmax makes probabilities of it
 * @throws DataError for settings out of range
 * @source Fan et al. (2018), top-k; Holtzman et al., The curious case of neural text degeneration (2019), top-p; Nguyen et
 *   al., Turning up the heat (2024), min-p
 */
export function filterLogits(logits: Tensor, options: FilterLogitsOptions = {}): Tensor {
  checkFilter('filterLogits', options);
  const { temperature = 1, topK = 0, topP = 1, minP = 0 } = options;
  return filterOp([logits], { scale: 1 / temperature, topK, topP, logMinP: Math.log(minP) });
}
