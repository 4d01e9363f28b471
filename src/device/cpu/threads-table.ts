/**
 * How each export of the WebAssembly module is cut into independent calls, for threads.
 *
 * To add an export, add a row under its name:
 *
 *     softmax: { args: 'rows columns x y', ns: 1.5, of: 'rows columns', over: { rows: { x: 'columns', y: 'columns' } } },
 *
 * - `args` names the parameters in their order. `name=other` is one that callers do not pass: it has the value of another
 *   one, or a number.
 * - `ns` times the product of the parameters in `of` estimates the time on one thread. It decides whether a call is cut,
 *   and into how many parts; a factor of two does not matter.
 * - `over` lists the parameters that count independent units: rows, say. A part has fewer of them, and begins at
 *   unit `start`; `{ x: 'columns' }` moves the address x by start · columns elements of four bytes, `{ x: 1 }` by
 *   start elements, `{ i0: 'start' }` adds start itself. Address 0 means "absent" and never moves. Where there are two
 *   dims, the second one is cut where the first is too short.
 * - `grid` allows both dims to be cut at once, `align` makes every part begin at a multiple (one per dim of `over`).
 * - `scratch` names the address of memory that each thread needs for itself: from `module.threadScratch(bytes)`.
 * - `combine` is for exports that return something: 'all' parts must return true, or their float64 'sum' is returned. For
 *   sums, `part` is how many units a part has; it may not depend on the threads.
 *
 * What a unit's results are, to the last bit, must not depend on where a part begins or ends; 16 units at a time where
 * lanes are filled with units. Exports without a row run as they are. Small independent calls, of one export or
 * several, become one job inside `module.together(() => { … })`.
 */

/** How one export is cut. */
export interface Split {
  readonly args: string;
  readonly ns: number;
  readonly of: string;
  readonly over: Readonly<Record<string, Readonly<Record<string, string | number>>>>;
  readonly align?: readonly number[];
  readonly grid?: true;
  readonly scratch?: string;
  readonly combine?: 'all' | 'sum';
  readonly part?: number;
}

/** y = f(x) over rows × columns. */
function unary(ns: number): Split {
  return {
    args: 'rows columns x xRow xCol y',
    ns,
    of: 'rows columns',
    over: { rows: { x: 'xRow', y: 'columns' }, columns: { x: 'xCol', y: 1 } },
    align: [1, 16],
  };
}

/** y = f(a, b) over rows × columns. */
function binary(ns: number): Split {
  return {
    args: 'rows columns a aRow aCol b bRow bCol y',
    ns,
    of: 'rows columns',
    over: {
      rows: { a: 'aRow', b: 'bRow', y: 'columns' },
      columns: { a: 'aCol', b: 'bCol', y: 1 },
    },
    align: [1, 16],
  };
}

/** With two parameters. */
function withParameters(split: Split): Split {
  return { ...split, args: `${split.args} p q` };
}

/** y[i] from row i. */
function reduction(ns: number, more = ''): Split {
  return {
    args: `rows columns x xRow xCol y${more}`,
    ns,
    of: 'rows columns',
    over: { rows: { x: 'xRow', y: 1 } },
    align: [16],
  };
}

export const SPLITS: Readonly<Record<string, Split>> = {
  matmul: {
    args: 'm n k a aRow aCol b bRow bCol c ldc scratch i0=0 rows=m j0=0 columns=n',
    ns: 0.075,
    of: 'm n k',
    over: { rows: { i0: 'start' }, columns: { j0: 'start' } },
    grid: true,
    // Whole tiles of C, and whole cache lines.
    align: [24, 16],
    scratch: 'scratch',
  },

  neg: unary(0.4),
  abs: unary(0.4),
  sqrt: unary(0.7),
  reciprocal: unary(0.7),
  relu: unary(0.4),
  exp: unary(1.2),
  log: unary(1.5),
  sigmoid: unary(1.7),
  silu: unary(1.7),
  tanh: unary(2),
  erf: unary(3),
  gelu: unary(3),
  geluTanh: unary(2.5),
  copy: unary(0.4),
  add: binary(0.5),
  sub: binary(0.5),
  mul: binary(0.5),
  div: binary(0.8),
  maximum: binary(0.5),
  minimum: binary(0.5),
  geluBackward: binary(4),
  geluTanhBackward: binary(3),
  siluBackward: binary(2),
  reluBackward: binary(0.5),
  tanhBackward: binary(0.5),
  sigmoidBackward: binary(0.5),
  scale: { args: 'count x factor y', ns: 0.4, of: 'count', over: { count: { x: 1, y: 1 } }, align: [16] },

  sumRows: {
    args: 'rows columns x xRow xCol y',
    ns: 0.25,
    of: 'rows columns',
    over: { rows: { x: 'xRow', y: 1 } },
    align: [16],
  },
  sumPart: { args: 'count x', ns: 0.2, of: 'count', over: { count: { x: 1 } }, combine: 'sum', part: 65536 },
  sumSquares: {
    args: 'count x',
    ns: 0.2,
    of: 'count',
    over: { count: { x: 1 } },
    combine: 'sum',
    part: 65536,
  },
  softmax: {
    args: 'rows columns x y',
    ns: 1.6,
    of: 'rows columns',
    over: { rows: { x: 'columns', y: 'columns' } },
  },
  logSoftmax: {
    args: 'rows columns x y',
    ns: 1.6,
    of: 'rows columns',
    over: { rows: { x: 'columns', y: 'columns' } },
  },
  softmaxBackward: {
    args: 'rows columns y g dx',
    ns: 0.7,
    of: 'rows columns',
    over: { rows: { y: 'columns', g: 'columns', dx: 'columns' } },
  },
  logSoftmaxBackward: {
    args: 'rows columns y g dx',
    ns: 1.6,
    of: 'rows columns',
    over: { rows: { y: 'columns', g: 'columns', dx: 'columns' } },
  },
  crossEntropy: {
    args: 'rows classes x targets weight ignore losses stats step=rows',
    ns: 1.6,
    of: 'rows classes',
    over: { rows: { x: 'classes', targets: 1, losses: 1, stats: 1 } },
    combine: 'all',
  },
  crossEntropyBackward: {
    args: 'rows classes g gStep x targets stats ignore dx step=rows',
    ns: 1.6,
    of: 'rows classes',
    over: { rows: { g: 'gStep', x: 'classes', targets: 1, stats: 1, dx: 'classes' } },
  },
  layerNorm: {
    args: 'rows columns x weight bias eps y mean rstd',
    ns: 1,
    of: 'rows columns',
    over: { rows: { x: 'columns', y: 'columns', mean: 1, rstd: 1 } },
  },
  layerNormBackwardInput: {
    args: 'rows columns x weight mean rstd g dx',
    ns: 1,
    of: 'rows columns',
    over: { rows: { x: 'columns', mean: 1, rstd: 1, g: 'columns', dx: 'columns' } },
  },
  layerNormBackwardParameters: {
    args: 'rows columns step x mean rstd g dWeight dBias',
    ns: 0.6,
    of: 'rows columns',
    over: { columns: { x: 1, g: 1, dWeight: 1, dBias: 1 } },
    align: [16],
  },

  lstm: {
    args: 'B T H first rowB rowT xp h0 h0Row h0Col weight packed c0 c0Row c0Col out acts c own from=0',
    ns: 0.4,
    of: 'B T H H',
    over: { B: { from: 'start' } },
    align: [6],
    scratch: 'own',
  },
  lstmBackward: {
    args: 'B T H first rowB rowT dOut dLast dLastRow dLastCol acts c0 c0Row c0Col weight packed dx dh dc own from=0',
    ns: 0.4,
    of: 'B T H H',
    over: { B: { from: 'start' } },
    align: [6],
    scratch: 'own',
  },
  gru: {
    args: 'B T H first rowB rowT xp h0 h0Row h0Col weight packed bias out acts own from=0',
    ns: 0.4,
    of: 'B T H H',
    over: { B: { from: 'start' } },
    align: [6],
    scratch: 'own',
  },
  gruBackward: {
    args: 'B T H first rowB rowT dOut acts weight packed dp dh dx own from=0',
    ns: 0.3,
    of: 'B T H H',
    over: { B: { from: 'start' } },
    align: [6],
    scratch: 'own',
  },
  rnn: {
    args: 'relu B T H first rowB rowT xp h0 h0Row h0Col weight packed out acts own from=0',
    ns: 0.1,
    of: 'B T H H',
    over: { B: { from: 'start' } },
    align: [6],
    scratch: 'own',
  },
  rnnBackward: {
    args: 'relu B T H first rowB rowT dOut states weight packed dx dh own from=0',
    ns: 0.1,
    of: 'B T H H',
    over: { B: { from: 'start' } },
    align: [6],
    scratch: 'own',
  },

  adamw: {
    args: 'count p g m v beta1 beta2 eps decay stepSize rootScale',
    ns: 1.5,
    of: 'count',
    over: { count: { p: 1, g: 1, m: 1, v: 1 } },
    align: [16],
  },
  dropout: {
    args: 'count x y seedLow seedHigh counterLow counterHigh below scale first=0',
    ns: 3,
    of: 'count',
    over: { count: { x: 1, y: 1, first: 'start' } },
    align: [16],
  },
  uniform: {
    args: 'count y seedLow seedHigh counterLow counterHigh start span shift unit first=0',
    ns: 3,
    of: 'count',
    over: { count: { y: 1, first: 'start' } },
    align: [16],
  },

  square: unary(0.4),
  rsqrt: unary(0.8),
  sign: unary(0.4),
  floor: unary(0.4),
  ceil: unary(0.4),
  round: unary(0.4),
  trunc: unary(0.4),
  log1p: unary(2.5),
  expm1: unary(2.5),
  sin: unary(3.5),
  cos: unary(3.5),
  clamp: withParameters(unary(0.4)),
  leakyRelu: withParameters(unary(0.4)),
  elu: withParameters(unary(2.5)),
  softplus: withParameters(unary(4.5)),
  pow: binary(9),
  eq: binary(0.5),
  ne: binary(0.5),
  lt: binary(0.5),
  le: binary(0.5),
  eqInt: binary(0.5),
  neInt: binary(0.5),
  ltInt: binary(0.5),
  leInt: binary(0.5),
  and: binary(0.5),
  or: binary(0.5),
  xor: binary(0.5),
  clampBackward: withParameters(binary(0.5)),
  leakyReluBackward: withParameters(binary(0.5)),
  eluBackward: withParameters(binary(1.7)),
  softplusBackward: withParameters(binary(2)),
  where: {
    args: 'rows columns c cRow cCol a aRow aCol b bRow bCol y',
    ns: 0.6,
    of: 'rows columns',
    over: {
      rows: { c: 'cRow', a: 'aRow', b: 'bRow', y: 'columns' },
      columns: { c: 'cCol', a: 'aCol', b: 'bCol', y: 1 },
    },
    align: [1, 16],
  },

  sumAbs: reduction(0.3),
  norm: reduction(0.3),
  countNonZero: reduction(0.3),
  maxOf: reduction(0.4),
  minOf: reduction(0.4),
  maxAbs: reduction(0.4),
  minAbs: reduction(0.4),
  argmax: reduction(0.7),
  argmin: reduction(0.7),
  logSumExp: reduction(1.5),
  variance: reduction(0.7, ' correction root'),
  cumsum: {
    args: 'rows columns x y row column reverse',
    ns: 1,
    of: 'rows columns',
    over: { rows: { x: 'row', y: 'row' } },
    align: [16],
  },
  rmsNorm: {
    args: 'rows columns x weight eps y rstd',
    ns: 0.6,
    of: 'rows columns',
    over: { rows: { x: 'columns', y: 'columns', rstd: 1 } },
  },
  rmsNormBackward: {
    args: 'rows columns x weight rstd g dx',
    ns: 0.8,
    of: 'rows columns',
    over: { rows: { x: 'columns', rstd: 1, g: 'columns', dx: 'columns' } },
  },
  rmsNormAffine: {
    args: 'rows columns stride x rstd g dWeight dBias',
    ns: 0.6,
    of: 'rows columns',
    over: { columns: { x: 1, g: 1, dWeight: 1, dBias: 1 } },
    align: [16],
  },

  fillWords: { args: 'count y value', ns: 0.2, of: 'count', over: { count: { y: 1 } }, align: [16] },
  copyStrided: {
    args: 'rows columns x xRow xCol y yRow yCol',
    ns: 0.4,
    of: 'rows columns',
    over: { rows: { x: 'xRow', y: 'yRow' }, columns: { x: 'xCol', y: 'yCol' } },
    align: [1, 16],
  },
  selectRows: {
    args: 'count width x size index skip y',
    ns: 0.4,
    of: 'count width',
    over: { count: { index: 1, y: 'width' } },
    combine: 'all',
  },
  addRows: {
    args: 'count width x xRow index size skip y yRow',
    ns: 0.5,
    of: 'count width',
    over: { width: { x: 1, y: 1 } },
    combine: 'all',
  },
  sparseSums: {
    args: 'outputs total rows stride x starts sources wires weights bias sums y yRow',
    ns: 0.2,
    of: 'total rows',
    over: { outputs: { starts: 1, bias: 1, sums: 'stride', y: 1 } },
  },
  sparseDots: {
    args: 'count rows stride g x targets sources y',
    ns: 0.2,
    of: 'count rows',
    over: { count: { targets: 1, sources: 1, y: 1 } },
    align: [16],
  },
  addScaled: { args: 'count x factor y', ns: 0.4, of: 'count', over: { count: { x: 1, y: 1 } }, align: [16] },
  sgd: { args: 'count p g lr decay', ns: 0.5, of: 'count', over: { count: { p: 1, g: 1 } }, align: [16] },
  sgdMomentum: {
    args: 'count p g b lr decay momentum fresh nesterov',
    ns: 0.8,
    of: 'count',
    over: { count: { p: 1, g: 1, b: 1 } },
    align: [16],
  },
  adam: {
    args: 'count p g m v beta1 beta2 eps penalty stepSize rootScale',
    ns: 1.5,
    of: 'count',
    over: { count: { p: 1, g: 1, m: 1, v: 1 } },
    align: [16],
  },

  matmulInt8: {
    args: 'rows n k x xRow w wRow scales sRow block y yRow scratch',
    ns: 0.2,
    of: 'rows n k',
    over: { n: { w: 'wRow', scales: 'sRow', y: 1 } },
    align: [16],
    scratch: 'scratch',
  },
  matmulNF4: {
    args: 'rows n k x xRow w wRow scales sRow block codes y yRow scratch',
    ns: 0.2,
    of: 'rows n k',
    over: { n: { w: 'wRow', scales: 'sRow', y: 1 } },
    align: [16],
    scratch: 'scratch',
  },
  matmulTransposedInt8: {
    args: 'rows n k first columns g gRow w wRow scales sRow block y yRow scratch',
    ns: 0.2,
    of: 'rows n columns',
    over: { columns: { first: 'start' } },
    align: [64],
    scratch: 'scratch',
  },
  matmulTransposedNF4: {
    args: 'rows n k first columns g gRow w wRow scales sRow block codes y yRow scratch',
    ns: 0.2,
    of: 'rows n columns',
    over: { columns: { first: 'start' } },
    align: [64],
    scratch: 'scratch',
  },

  attentionForward: {
    args:
      'heads queries keys dim vDim q qHead qRow k kHead kRow v vHead vRow mask scale first left right zeroEmpty ' +
      'o oHead oRow lse lseHead scratch',
    ns: 0.15,
    of: 'heads queries keys dim',
    over: {
      heads: { q: 'qHead', k: 'kHead', v: 'vHead', o: 'oHead', lse: 'lseHead' },
      queries: { q: 'qRow', o: 'oRow', lse: 1, first: 'start' },
    },
    // Queries fill lanes in groups of 8.
    align: [1, 32],
    scratch: 'scratch',
  },
  attentionBackward: {
    args:
      'heads queries keys dim vDim q qHead qRow k kHead kRow v vHead vRow mask scale first left right ' +
      'o g oHead oRow lse lseHead dq dqHead dqRow dk dkHead dkRow dv dvHead dvRow scratch',
    ns: 0.4,
    of: 'heads queries keys dim',
    over: {
      heads: {
        ...{ q: 'qHead', k: 'kHead', v: 'vHead', o: 'oHead', g: 'oHead', lse: 'lseHead' },
        ...{ dq: 'dqHead', dk: 'dkHead', dv: 'dvHead' },
      },
    },
    scratch: 'scratch',
  },
  attentionRow: {
    args: 'heads keys dim vDim q qHead k kHead kRow v vHead vRow mask scale zeroEmpty o oHead lse scratch',
    ns: 0.5,
    of: 'heads keys dim',
    over: { heads: { q: 'qHead', k: 'kHead', v: 'vHead', o: 'oHead', lse: 1 } },
    scratch: 'scratch',
  },
};
