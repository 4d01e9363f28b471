/**
 * Access pattern: rows of class scores against a class each. x [outer, classes, inner] is walked along its middle dim, one
 * row per (outer, inner) pair.
 *
 * Forward reads x once and writes four numbers per row. Backward reads x once and writes its gradient; the log-sum-exp is
 * not computed again.
 */
import type { Dispatch, KernelCall } from '../device/types.js';
import { numel } from '../tensor/shape.js';
import type { ParamSpec } from './pointwise.js';
import { type RowCode, type RowStep, type RowTemplate, rowDispatch, together } from './row.js';
import { EXP_DOWN, expDowns, onlineSum, REGULAR } from './softmax.js';
import { declarations, IS_FINITE, IS_NAN, NAN } from './wgsl.js';
import { LOG } from './wgsl-math.js';

/** What the fused operations take. */
export interface ClassParams {
  /** The public function, for messages. */
  readonly name: string;
  /** Rows of this class count for nothing. */
  readonly ignoreIndex: number;
  /** ε: this share of the target is spread evenly over all classes. */
  readonly smoothing: number;
  /** x are log-probabilities already: no log-sum-exp is taken. */
  readonly normalized: boolean;
  /** The last input is a weight per class. */
  readonly weighted: boolean;
}

/** Sizes of x [outer, classes, inner]; a vector is one row. */
export function classSpace(shape: readonly number[]): { classes: number; inner: number; rows: number } {
  const dim = shape.length > 1 ? 1 : 0;
  const classes = shape[dim];
  const inner = numel(shape.slice(dim + 1));
  return { classes, inner, rows: inner * (dim === 1 ? shape[0] : 1) };
}

const PARAMS: readonly ParamSpec[] = [
  { name: 'ignore', type: 'i32' },
  { name: 'smoothing', type: 'f32' },
];

/** The class of the row; those out of range are read as the nearest one. */
const CLASS = ({ read }: RowCode) => `
let named = i32(${read('classes')});
let ignored = named == p.ignore;
let class_at = u32(clamp(named, 0, i32(p.n) - 1));`;

const weightOf = ({ has, element }: RowCode, i: string) => (has('w') ? element('w', i) : '1.0');

/** The weights of the positions that a turn reads. */
const weights = ({ has, read, type }: RowCode) => (has('w') ? read('w') : `${type}(1.0)`);

/**
 * Losses [rows] and, for backward, [3, rows]: the log-sum-exp, the weight of the whole target distribution, and the
 * weight of the class.
 */
const forward = (normalized: boolean, smoothed: boolean): RowTemplate => ({
  name: `crossEntropy:${normalized}:${smoothed}`,
  operands: { x: 'row', classes: 'stat', w: 'column', losses: 'stat', stats: 'stat' },
  params: PARAMS,
  line: normalized,
  declarations: (code) => declarations(NAN, IS_FINITE, EXP_DOWN, expDowns(code), LOG),
  steps(code) {
    const { read, write, element } = code;
    const steps: RowStep[] = [];
    if (normalized) steps.push('let lse = 0.0; let even = 0.0; let mass = 0.0;');
    else if (smoothed) {
      // Σ w·(lse − x) from sums relative to the first score, so that large scores do not cancel.
      steps.push(
        `let first = ${element('x', '0u')}; let origin = select(0.0, first, is_finite(first));`,
        together(onlineSum(read('x'), code), {
          vars: { mass: ['f32', '0.0'], shifted: ['f32', '0.0'] },
          step: `let w_here = ${weights(code)}; mass_v += w_here; shifted_v += w_here * (v - origin);`,
          merge: 'mass += other_mass; shifted += other_shifted;',
        }),
        REGULAR,
        'let lse = select(nan(), top + log_f(sum), regular);',
        'let even = p.smoothing / f32(p.n) * ((lse - origin) * mass - shifted);',
      );
    } else {
      steps.push(
        onlineSum(read('x'), code),
        REGULAR,
        'let lse = select(nan(), top + log_f(sum), regular); let even = 0.0; let mass = 0.0;',
      );
    }
    const whole = 'select((1.0 - p.smoothing) * weight + p.smoothing / f32(p.n) * mass, 0.0, ignored)';
    steps.push(
      CLASS(code),
      `let weight = ${weightOf(code, 'class_at')};`,
      `let loss = (1.0 - p.smoothing) * weight * (lse - ${element('x', 'class_at')}) + even;`,
      write('losses', 'select(loss, 0.0, ignored)'),
      write('stats', 'lse'),
      write('stats', whole, 1),
      write('stats', 'select(weight, 0.0, ignored)', 2),
    );
    return steps;
  },
});

/** The gradient of x: g · (weight of the target · softmax x − the weighted target). */
const backward = (normalized: boolean, smoothed: boolean): RowTemplate => ({
  name: `crossEntropyBackward:${normalized}:${smoothed}`,
  operands: { g: 'other', x: 'row', classes: 'stat', stats: 'stat', w: 'column', y: 'row' },
  params: [...PARAMS, { name: 'g_step', type: 'u32' }],
  declarations: (code) => declarations(NAN, IS_NAN, EXP_DOWN, expDowns(code)),
  steps(code) {
    const { read, write, element, patch, at, type } = code;
    const softmax = (x: string, exp: string) => (normalized ? '' : `${exp}(${x} - lse) * slope`);
    const even = (w: string) => (smoothed ? ` - spread * ${w}` : '');
    const whole = `${softmax(read('x'), 'exp_downs')}${even(weights(code))}`;
    const single = `${softmax(element('x', 'class_at'), 'exp_down')}${even(weightOf(code, 'class_at'))}`;
    const zero = `${type}()`;
    return [
      CLASS(code),
      `let lse = ${read('stats')};
let scale = ${at('g', 'row * p.g_step')};
// A log-sum-exp that is NaN makes the row NaN, whatever the adapter's exp says to it.
let slope = select(scale * ${read('stats', 1)}, nan(), is_nan(lse));
let spread = scale * p.smoothing / f32(p.n);`,
      { each: write('y', whole === '' ? zero : `select(${whole}, ${zero}, ignored)`) },
      'if (!ignored) {',
      patch('y', 'class_at', `${single} - scale * (1.0 - p.smoothing) * ${read('stats', 2)}`),
      '}',
    ];
  },
});

const templates = new Map<string, RowTemplate>();

function template(kind: 'forward' | 'backward', { normalized, smoothing }: ClassParams): RowTemplate {
  const key = `${kind}:${normalized}:${smoothing > 0}`;
  let t = templates.get(key);
  if (!t) templates.set(key, (t = (kind === 'forward' ? forward : backward)(normalized, smoothing > 0)));
  return t;
}

function rowSpace(shape: readonly number[]) {
  const { classes, inner, rows } = classSpace(shape);
  return { outer: rows / Math.max(inner, 1), n: classes, inner };
}

export function crossEntropyKernel({
  inputs: [x, classes, w],
  outputs: [losses, stats],
  params,
  target,
}: KernelCall<ClassParams>): Dispatch[] {
  return rowDispatch(
    template('forward', params),
    rowSpace(x.shape),
    target,
    { x, classes, w },
    { losses, stats },
    [params.ignoreIndex, params.smoothing],
  );
}

/** The gradient of x from that of the losses (input 0, any stride), x, the classes, the statistics and the weights. */
export function crossEntropyBackwardKernel({
  inputs: [g, x, classes, stats, w],
  outputs: [y],
  params,
  target,
}: KernelCall<ClassParams>): Dispatch[] {
  return rowDispatch(
    template('backward', params),
    rowSpace(x.shape),
    target,
    { g, x, classes, stats, w },
    { y },
    [params.ignoreIndex, params.smoothing, g.strides[0]],
  );
}
