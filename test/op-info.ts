/** The table of all operations: what the conformance suite runs. */
import { arithmetic } from './op-info/arithmetic.js';
import { attention } from './op-info/attention.js';
import { views } from './op-info/views.js';
import { matmuls } from './op-info/matmul.js';
import { reductions } from './op-info/reduce.js';
import { losses } from './op-info/losses.js';
import { creation } from './op-info/creation.js';
import { index } from './op-info/index.js';
import { join } from './op-info/join.js';
import { random } from './op-info/random.js';
import { activations } from './op-info/activations.js';
import { compare } from './op-info/compare.js';
import { power } from './op-info/power.js';
import { select } from './op-info/select.js';
import { unary } from './op-info/unary.js';
import { rowOps } from './op-info/row.js';
import { topks } from './op-info/topk.js';
import type { OpInfo } from './op-info/types.js';

export const opInfo: readonly OpInfo[] = [
  ...arithmetic,
  ...views,
  ...matmuls,
  ...attention,
  ...reductions,
  ...losses,
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
  ...topks,
];
