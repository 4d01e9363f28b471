/**
 * Access pattern: many tensors of any sizes, updated element by element in few dispatches.
 *
 * A dispatch takes as many (parameter, gradient) pairs as the adapter's storage buffers allow; what an optimizer remembers
 * lies in one flat tensor shared by all pairs, so that it costs one binding and not several per pair. Workgroups are dealt
 * to the pairs in order: pair i owns those from `end(i−1)` to `end(i)`, and every invocation branches on its workgroup.
 *
 * What changes from step to step lies in a tensor too, the clock, so that a captured step can be replayed: the number of
 * the step, whether it is to be skipped, the learning rate (which the host writes), and the rates that follow from them,
 * which one invocation computes before the update.
 */
import {
  type Dispatch,
  type HostArray,
  type Kernel,
  type Program,
  type SimdModule,
  type View,
  type WgslType,
  wgslType,
} from '../device/types.js';
import { inPlaceWork } from '../device/work.js';
import { numel } from '../tensor/shape.js';
import { partsOf, roomFor } from './parts.js';
import { load, type ParamSpec, store } from './pointwise.js';

/** Elements that one workgroup updates. */
export const CHUNK = 1024;
/** Most pairs in one dispatch: beyond it the parameters would not fit 256 bytes of uniforms. */
const MAX_PAIRS = 9;
/** The same where every place that reads memory takes long to compile. */
const FEW_PAIRS = 4;

/** Elements of a clock: step, active (0 skips the update), lr, r0 … r4. */
export const CLOCK = { size: 8, step: 0, active: 1, lr: 2, rates: 3 } as const;

/** An update x ← f(x, g, state…), elementwise over pairs of tensors. */
export interface UpdateTemplate<P> {
  /** Unique among all kernels. */
  readonly name: string;
  /** How many numbers are remembered per element, as float32 (float64 for float64 pairs). */
  readonly states: number;
  /** What depends on the step t (from 1) and on the learning rate; up to five numbers, computed once per step. */
  readonly rates?: {
    readonly host: (t: number, lr: number, params: P) => readonly number[];
    /** WGSL statements that assign `r0`, `r1`, … from `t`, `lr` (f32) and `p.name`. */
    readonly wgsl: string;
    readonly params: readonly ParamSpec[];
    readonly values: (params: P) => readonly number[];
    readonly declarations?: string;
  };
  /** WGSL statements that change `x`, `s0`, `s1`, … (var f32) and may change `g`; they read `lr`, `r0`, … and `p.name`. */
  readonly update: string;
  readonly params: readonly ParamSpec[];
  readonly values: (params: P) => readonly number[];
  /** Host implementation for one pair: n elements from x[xo], g[go] and state[so[j]]. */
  readonly loop: (
    n: number,
    x: HostArray['data'],
    xo: number,
    g: HostArray['data'],
    go: number,
    state: HostArray['data'],
    so: readonly number[],
    clock: Clock,
    params: P,
  ) => void;
  /** The same in WebAssembly on byte addresses; false where it does not cover the parameters. */
  readonly simd?: (
    module: SimdModule,
    n: number,
    x: number,
    g: number,
    states: readonly number[],
    clock: Clock,
    params: P,
  ) => boolean;
}

/** A clock as the host sees it. */
export interface Clock {
  readonly lr: number;
  readonly rates: readonly number[];
}

/** Where each pair's state begins in the flat tensor: first what is remembered first, for all its elements. */
export interface PairOffsets {
  readonly stateOffsets: readonly number[];
}

/** The programs of an update. */
export interface MultiTensorUpdate<P> {
  /**
   * Output [clock]: moves on to the next step, unless the input, a float32 scalar (if any), is not 0; then the update
   * that follows does nothing.
   */
  readonly tick: Program<P>;
  /** Whether the update needs `tick` also where nothing is ever skipped. */
  readonly counts: boolean;
  /**
   * Inputs [clock, gradient 0, gradient 1, …] and outputs [state (if any), tensor 0, tensor 1, …], all contiguous; all
   * gradients of one dtype, and all tensors. Outputs are updated in place. Arithmetic runs in float32 also for float16.
   * Reads and writes every element of the tensors and the state once, and reads the gradients once.
   */
  readonly update: Program<P & PairOffsets>;
}

/** The programs of a template. */
export function multiTensorUpdate<P>(t: UpdateTemplate<P>): MultiTensorUpdate<P> {
  return { tick: tickProgram(t), counts: t.rates !== undefined, update: updateProgram(t) };
}

function tickProgram<P>(t: UpdateTemplate<P>): Program<P> {
  const cache = new Map<boolean, Kernel>();
  return {
    name: `${t.name}.tick`,
    host([skip], [{ data, offset }], params) {
      const active = skip === undefined || skip.data[skip.offset] === 0;
      data[offset + CLOCK.active] = Number(active);
      if (!active) return;
      const step = ++data[offset + CLOCK.step];
      const rates = t.rates?.host(step, data[offset + CLOCK.lr], params) ?? [];
      rates.forEach((rate, i) => {
        data[offset + CLOCK.rates + i] = rate;
      });
    },
    kernel({ inputs: [skip], outputs: [clock], params }) {
      const skips = skip !== undefined;
      let kernel = cache.get(skips);
      if (!kernel) cache.set(skips, (kernel = buildTick(t, skips)));
      return [
        {
          kernel,
          buffers: [clock.buffer, ...(skips ? [skip.buffer] : [])],
          params: [...(skips ? [skip.offset] : []), ...(t.rates?.values(params) ?? [])],
          workgroups: 1,
        },
      ];
    },
  };
}

function buildTick<P>(t: UpdateTemplate<P>, skips: boolean): Kernel {
  return {
    key: `${t.name}.tick:${skips}`,
    bindings: [
      { name: 'clock', type: 'f32', access: 'read_write' },
      ...(skips ? [{ name: 'skip', type: 'f32' as const, access: 'read' as const }] : []),
    ],
    params: [...(skips ? [{ name: 'skip_offset', type: 'u32' as const }] : []), ...(t.rates?.params ?? [])],
    workgroupSize: 1,
    declarations: t.rates?.declarations,
    body: `${skips ? `clock[${CLOCK.active}] = select(0.0, 1.0, skip[p.skip_offset] == 0.0);\nif (clock[${CLOCK.active}] == 0.0) { return; }` : `clock[${CLOCK.active}] = 1.0;`}
let t = clock[${CLOCK.step}] + 1.0;
clock[${CLOCK.step}] = t;
let lr = clock[${CLOCK.lr}];
var r0 = 0.0; var r1 = 0.0; var r2 = 0.0; var r3 = 0.0; var r4 = 0.0;
${t.rates?.wgsl ?? ''}
${[0, 1, 2, 3, 4].map((i) => `clock[${CLOCK.rates + i}] = r${i};`).join(' ')}`,
  };
}

function updateProgram<P>(t: UpdateTemplate<P>): Program<P & PairOffsets> {
  const cache = new Map<string, Kernel>();
  const states = Array.from({ length: t.states }, (_, j) => j);
  /** Outputs before the tensors. */
  const first = Math.min(t.states, 1);
  return {
    name: t.name,
    work: inPlaceWork,
    host([clock, ...grads], outputs, params) {
      const at = (i: number): number => clock.data[clock.offset + i];
      if (at(CLOCK.active) === 0) return;
      const rates = [0, 1, 2, 3, 4].map((i) => at(CLOCK.rates + i));
      const now = { lr: at(CLOCK.lr), rates };
      grads.forEach((g, i) => {
        const x = outputs[first + i];
        const n = numel(x.shape);
        const so = states.map((j) => params.stateOffsets[i] + j * n);
        t.loop(n, x.data, x.offset, g.data, g.offset, outputs[0].data, so, now, params);
      });
    },
    simd:
      t.simd &&
      ((module, [clock, ...grads], outputs, params) => {
        const at = (i: number): number => module.loadF32(clock.pointer + 4 * i);
        if (at(CLOCK.active) === 0) return true;
        const now = { lr: at(CLOCK.lr), rates: [0, 1, 2, 3, 4].map((i) => at(CLOCK.rates + i)) };
        return grads.every((g, i) => {
          const x = outputs[first + i];
          const n = numel(x.shape);
          const from = states.map((j) => outputs[0].pointer + 4 * (params.stateOffsets[i] + j * n));
          return t.simd!(module, n, x.pointer, g.pointer, from, now, params);
        });
      }),
    kernel({ inputs: [clock, ...gradients], outputs, params, target, scratch }) {
      if (gradients.length === 0) return [];
      const tensors = outputs.slice(first);
      const workgroupSize = target.kind === 'software' ? 64 : 256;
      const xType = wgslType(tensors[0].dtype);
      const gType = wgslType(gradients[0].dtype);
      const common = t.values(params);
      const dispatches: Dispatch[] = [];
      const kept = outputs.slice(0, first).map((state) => state.buffer);
      const pairs = tensors.map((x, i) => [x.buffer, gradients[i].buffer]);
      const fixed = [clock.buffer, ...kept];
      const most = target.dearPlaces ? FEW_PAIRS : MAX_PAIRS;
      const parts = partsOf(pairs, target, { fixed, most });
      const longest = Math.max(...parts.map(([from, to]) => to - from));
      for (const [from, to] of parts) {
        const grads = gradients.slice(from, to);
        const xs = tensors.slice(from, to);
        const bound = pairs.slice(from, to).flat();
        // Empty pairs fill up parts that are shorter, so that all share a kernel.
        const room = roomFor(target, [...fixed, ...bound]);
        const empty = Math.min(longest - xs.length, Math.floor(room / 2));
        const count = xs.length + empty;
        const key = `${t.name}:${count}:${xType}:${gType}:${workgroupSize}`;
        let kernel = cache.get(key);
        if (!kernel) cache.set(key, (kernel = build(t, key, count, xType, gType, workgroupSize)));
        const { ends, workgroups } = deal(xs);
        dispatches.push({
          kernel,
          buffers: [
            ...fixed,
            ...bound,
            ...Array.from({ length: empty }, () => [scratch(16), clock.buffer]).flat(),
          ],
          params: [
            ...common,
            ...xs.flatMap((x, i) => [
              ends[i],
              numel(x.shape),
              x.offset,
              grads[i].offset,
              params.stateOffsets[from + i],
            ]),
            ...Array.from({ length: empty }, () => [workgroups, 0, 0, 0, 0]).flat(),
          ],
          workgroups,
        });
      }
      return dispatches;
    },
  };
}

/** Prefix sums of the workgroups that each tensor needs. */
export function deal(tensors: readonly View[]): { ends: number[]; workgroups: number } {
  let workgroups = 0;
  const ends = tensors.map((t) => (workgroups += Math.ceil(numel(t.shape) / CHUNK)));
  return { ends, workgroups };
}

/** WGSL that runs `body(i)` in the workgroups of pair i, with `first` (its first element) and `stop` defined. */
export function branches(pairs: number, body: (i: number) => string): string {
  return Array.from({ length: pairs }, (_, i) => {
    const begin = i === 0 ? '0u' : `p.end${i - 1}`;
    return `${i === 0 ? '' : 'else '}if (group < p.end${i}) {
  let first = (group - ${begin}) * ${CHUNK}u;
  let stop = min(first + ${CHUNK}u, p.n${i});
  ${body(i)}
}`;
  }).join('\n');
}

function build<P>(
  t: UpdateTemplate<P>,
  key: string,
  pairs: number,
  xType: WgslType,
  gType: WgslType,
  workgroupSize: number,
): Kernel {
  const states = Array.from({ length: t.states }, (_, j) => j);
  const order = Array.from({ length: pairs }, (_, i) => i);
  const place = (i: number, j: number): string => `p.s${i}_offset + ${j}u * p.n${i} + e`;
  const body = (i: number): string => `for (var e = first + local; e < stop; e += ${workgroupSize}u) {
    var x = ${load(xType, `x${i}[p.x${i}_offset + e]`)};
    var g = ${load(gType, `g${i}[p.g${i}_offset + e]`)};
    ${states.map((j) => `var s${j} = state[${place(i, j)}];`).join(' ')}
    ${t.update}
    x${i}[p.x${i}_offset + e] = ${store(xType, 'x')};
    ${states.map((j) => `state[${place(i, j)}] = s${j};`).join(' ')}
  }`;
  return {
    key,
    bindings: [
      { name: 'clock', type: 'f32', access: 'read' },
      ...(t.states > 0 ? [{ name: 'state', type: 'f32' as const, access: 'read_write' as const }] : []),
      ...order.flatMap((i) => [
        { name: `x${i}`, type: xType, access: 'read_write' as const },
        { name: `g${i}`, type: gType, access: 'read' as const },
      ]),
    ],
    params: [
      ...t.params,
      ...order.flatMap((i) =>
        [`end${i}`, `n${i}`, `x${i}_offset`, `g${i}_offset`, `s${i}_offset`].map((name) => ({
          name,
          type: 'u32' as const,
        })),
      ),
    ],
    workgroupSize,
    enables: xType === 'f16' || gType === 'f16' ? ['f16'] : undefined,
    body: `if (clock[${CLOCK.active}] == 0.0) { return; }
let lr = clock[${CLOCK.lr}];
${[0, 1, 2, 3, 4].map((i) => `let r${i} = clock[${CLOCK.rates + i}];`).join(' ')}
${branches(pairs, body)}`,
  };
}
