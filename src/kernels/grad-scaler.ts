/** Programs of dynamic loss scaling. The state [scale, steps since it changed, skipped steps] stays on the device. */
import type { Kernel, Program } from '../device/types.js';
import { numel } from '../tensor/shape.js';
import { each, type Rule } from './gradient-clip.js';
import { declarations, IS_FINITE } from './wgsl.js';

/** Elements of the state. */
export const SCALER = { size: 3, scale: 0, tracker: 1, skipped: 2 } as const;

/** The bits of 1.0f: what the found-infinity scalar holds where there was one. */
const ONE = 0x3f800000;

const unscaleRule: Rule = {
  name: 'gradScaler.unscale',
  statement: 'v *= factor;\nbad = bad || !is_finite(v);',
  before: [
    { name: 'state', type: 'f32', access: 'read' },
    { name: 'found', type: 'atomic<u32>', access: 'read_write' },
  ],
  params: [],
  declarations: declarations(IS_FINITE),
  prologue: `let factor = 1.0 / state[${SCALER.scale}];\nvar bad = false;`,
  // All that write, write the same.
  epilogue: `if (bad) { atomicStore(&found[0], ${ONE}u); }`,
  writes: true,
};

/**
 * Input [state], outputs [found, gradient 0, …], contiguous: divides the gradients by the scale in place, and sets
 * `found`, a float32 scalar, to 1 where one of them is infinite or NaN. Reads and writes every element once.
 */
export const unscaleProgram: Program<null> = {
  name: 'gradScaler.unscale',
  host([state], [found, ...grads]) {
    const factor = 1 / state.data[state.offset + SCALER.scale];
    let bad = false;
    for (const { data, offset, shape } of grads) {
      const end = offset + numel(shape);
      for (let i = offset; i < end; i++) {
        const v = data[i] * factor;
        bad ||= v - v !== 0;
        data[i] = v;
      }
    }
    if (bad) found.data[found.offset] = 1;
  },
  kernel: ({ inputs: [state], outputs: [found, ...grads], target }) =>
    each(unscaleRule, grads, target, [state.buffer, found.buffer], () => []),
};

export interface ScalerRates {
  readonly growth: number;
  readonly backoff: number;
  readonly interval: number;
}

const UPDATE: Kernel = {
  key: 'gradScaler.update',
  bindings: [
    { name: 'state', type: 'f32', access: 'read_write' },
    { name: 'found', type: 'f32', access: 'read_write' },
  ],
  params: [
    { name: 'growth', type: 'f32' },
    { name: 'backoff', type: 'f32' },
    { name: 'interval', type: 'f32' },
  ],
  workgroupSize: 1,
  body: `let scale = state[${SCALER.scale}];
if (found[0] != 0.0) {
  state[${SCALER.scale}] = scale * p.backoff;
  state[${SCALER.tracker}] = 0.0;
  state[${SCALER.skipped}] += 1.0;
} else {
  let good = state[${SCALER.tracker}] + 1.0;
  let grow = good >= p.interval;
  // A scale that would be infinite stays.
  state[${SCALER.scale}] = select(scale, scale * p.growth, grow && scale <= 3.4e38 / p.growth);
  state[${SCALER.tracker}] = select(good, 0.0, grow);
}
found[0] = 0.0;`,
};

/** Outputs [state, found]: moves the scale on, counts a skipped step, and forgets what was found. */
export const updateScaleProgram: Program<ScalerRates> = {
  name: 'gradScaler.update',
  host(_, [{ data, offset }, found], { growth, backoff, interval }) {
    const scale = data[offset + SCALER.scale];
    if (found.data[found.offset] !== 0) {
      data[offset + SCALER.scale] = scale * backoff;
      data[offset + SCALER.tracker] = 0;
      data[offset + SCALER.skipped]++;
    } else {
      const good = data[offset + SCALER.tracker] + 1;
      const grow = good >= interval;
      if (grow && scale <= 3.4e38 / growth) data[offset + SCALER.scale] = scale * growth;
      data[offset + SCALER.tracker] = grow ? 0 : good;
    }
    found.data[found.offset] = 0;
  },
  kernel: ({ outputs: [state, found], params: { growth, backoff, interval } }) => [
    {
      kernel: UPDATE,
      buffers: [state.buffer, found.buffer],
      params: [growth, backoff, interval],
      workgroups: 1,
    },
  ],
};
