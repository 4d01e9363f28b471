/**
 * Access pattern: many tensors of any sizes, updated element by element in few dispatches.
 *
 * A dispatch takes as many (parameter, gradient) pairs as the adapter's storage buffers allow; what an optimizer remembers
 * lies in flat tensors shared by all pairs, so that it costs one binding and not one per pair. Workgroups are dealt
 * to the pairs in order: pair i owns those from `end(i−1)` to `end(i)`, and every invocation branches on its workgroup.
 */
import {
  type Dispatch,
  type HostArray,
  type Kernel,
  type KernelCall,
  type Program,
  type SimdModule,
  type View,
  type WgslType,
  wgslType,
} from '../device/types.js';
import { numel } from '../tensor/shape.js';
import { load, type ParamSpec, store } from './pointwise.js';

/** Elements that one workgroup updates. */
export const CHUNK = 1024;
/** Most pairs in one dispatch: beyond it the parameters would not fit 256 bytes of uniforms. */
const MAX_PAIRS = 9;

/** An update x ← f(x, g, state…), elementwise over pairs of tensors. */
export interface UpdateTemplate<P> {
  /** Unique among all kernels. */
  readonly name: string;
  /** Flat state tensors: how many, as float32 (float64 for float64 pairs). */
  readonly states: number;
  /** WGSL statements that change `x`, `s0`, `s1`, … (var f32) and may change `g`; they read `p.name`. */
  readonly update: string;
  readonly params: readonly ParamSpec[];
  readonly values: (params: P) => readonly number[];
  /** Host implementation for one pair: n elements from x[xo], g[go] and states[j][so]. */
  readonly loop: (
    n: number,
    x: HostArray['data'],
    xo: number,
    g: HostArray['data'],
    go: number,
    states: readonly HostArray['data'][],
    so: number,
    params: P,
  ) => void;
  /** The same in WebAssembly on byte addresses; false where it does not cover the parameters. */
  readonly simd?: (
    module: SimdModule,
    n: number,
    x: number,
    g: number,
    states: readonly number[],
    params: P,
  ) => boolean;
}

/** The parameters of an update: where each pair's state begins in the flat state tensors. */
export interface PairOffsets {
  readonly stateOffsets: readonly number[];
}

/**
 * A program over inputs [gradient 0, gradient 1, …] and outputs [state 0, …, tensor 0, tensor 1, …], all contiguous; all
 * gradients of one dtype, and all tensors. Outputs are updated in place. Arithmetic runs in float32 also for float16.
 * Reads and writes every element of the tensors and the states once, and reads the gradients once.
 */
export function multiTensorUpdate<P extends PairOffsets>(t: UpdateTemplate<P>): Program<P> {
  const cache = new Map<string, Kernel>();
  return {
    name: t.name,
    host(inputs, outputs, params) {
      const states = outputs.slice(0, t.states).map((s) => s.data);
      inputs.forEach((g, i) => {
        const x = outputs[t.states + i];
        const n = numel(x.shape);
        t.loop(n, x.data, x.offset, g.data, g.offset, states, params.stateOffsets[i], params);
      });
    },
    simd:
      t.simd &&
      ((module, inputs, outputs, params) => {
        const states = outputs.slice(0, t.states);
        return inputs.every((g, i) => {
          const x = outputs[t.states + i];
          const at = states.map((s) => s.pointer + params.stateOffsets[i] * 4);
          return t.simd!(module, numel(x.shape), x.pointer, g.pointer, at, params);
        });
      }),
    kernel({ inputs, outputs, params, target }: KernelCall<P>): Dispatch[] {
      if (inputs.length === 0) return [];
      const states = outputs.slice(0, t.states);
      const tensors = outputs.slice(t.states);
      const workgroupSize = target.kind === 'software' ? 64 : 256;
      const perDispatch = Math.max(1, Math.min(MAX_PAIRS, (target.maxStorageBuffers - t.states) >> 1));
      const xType = wgslType(tensors[0].dtype);
      const gType = wgslType(inputs[0].dtype);
      const common = t.values(params);
      const dispatches: Dispatch[] = [];
      for (let from = 0; from < inputs.length; from += perDispatch) {
        const grads = inputs.slice(from, from + perDispatch);
        const xs = tensors.slice(from, from + perDispatch);
        const key = `${t.name}:${xs.length}:${xType}:${gType}:${workgroupSize}`;
        let kernel = cache.get(key);
        if (!kernel) cache.set(key, (kernel = build(t, key, xs.length, xType, gType, workgroupSize)));
        const { ends, workgroups } = deal(xs);
        dispatches.push({
          kernel,
          buffers: [...states.map((s) => s.buffer), ...xs.flatMap((x, i) => [x.buffer, grads[i].buffer])],
          params: [
            ...common,
            ...xs.flatMap((x, i) => [
              ends[i],
              numel(x.shape),
              x.offset,
              grads[i].offset,
              params.stateOffsets[from + i],
            ]),
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
  const body = (i: number): string => `for (var e = first + local; e < stop; e += ${workgroupSize}u) {
    var x = ${load(xType, `x${i}[p.x${i}_offset + e]`)};
    var g = ${load(gType, `g${i}[p.g${i}_offset + e]`)};
    ${states.map((j) => `var s${j} = state${j}[p.s${i}_offset + e];`).join(' ')}
    ${t.update}
    x${i}[p.x${i}_offset + e] = ${store(xType, 'x')};
    ${states.map((j) => `state${j}[p.s${i}_offset + e] = s${j};`).join(' ')}
  }`;
  return {
    key,
    bindings: [
      ...states.map((j) => ({ name: `state${j}`, type: 'f32' as const, access: 'read_write' as const })),
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
    body: branches(pairs, body),
  };
}
