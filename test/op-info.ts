/** The table of all operations: what the conformance suite runs. */

import { activations } from './op-info/activations.js';
import { arithmetic } from './op-info/arithmetic.js';
import { attention } from './op-info/attention.js';
import { compare } from './op-info/compare.js';
import { creation } from './op-info/creation.js';
import { filters } from './op-info/filter-logits.js';
import { fusedRows } from './op-info/fused-rows.js';
import { index } from './op-info/index.js';
import { join } from './op-info/join.js';
import { linears } from './op-info/linear.js';
import { linearCrossEntropies } from './op-info/linear-cross-entropy.js';
import { losses } from './op-info/losses.js';
import { matmuls } from './op-info/matmul.js';
import { power } from './op-info/power.js';
import { quantized } from './op-info/quantized.js';
import { random } from './op-info/random.js';
import { recurrents } from './op-info/recurrent.js';
import { reductions } from './op-info/reduce.js';
import { rowOps } from './op-info/row.js';
import { select } from './op-info/select.js';
import { sparseLinears } from './op-info/sparse-linear.js';
import { topks } from './op-info/topk.js';
import type { OpInfo } from './op-info/types.js';
import { unary } from './op-info/unary.js';
import { views } from './op-info/views.js';

export const opInfo: readonly OpInfo[] = [
  ...arithmetic,
  ...views,
  ...matmuls,
  ...linears,
  ...sparseLinears,
  ...attention,
  ...reductions,
  ...losses,
  ...linearCrossEntropies,
  ...index,
  ...join,
  ...creation,
  ...random,
  ...unary,
  ...activations,
  ...compare,
  ...power,
  ...select,
  ...rowOps,
  ...fusedRows,
  ...topks,
  ...filters,
  ...recurrents,
  ...quantized,
];
