/**
 * Dropout of x plus a residual, in one pass: the same numbers and the same mask as `dropout` in random.ts makes from a
 * state. Reads x and the residual once, writes once.
 */
import {
  type Dispatch,
  type HostArray,
  type Kernel,
  type KernelCall,
  type SimdModule,
  type SimdView,
  wgslType,
} from '../device/types.js';
import { numel } from '../tensor/shape.js';
import { load, store, workgroups } from './pointwise.js';
import {
  BLOCK_PARAMS,
  blockValues,
  type DropoutParams,
  dropoutHost,
  dropoutSimd,
  PHILOX,
  STATE_BINDING,
  threshold,
} from './random.js';

const cache = new Map<string, Kernel>();

/** Inputs x, residual, state. */
export function dropoutAddKernel({
  inputs: [x, residual, state],
  outputs: [y],
  params,
}: KernelCall<DropoutParams>): Dispatch[] {
  const type = wgslType(y.dtype);
  const n = numel(y.shape);
  const vectors = n % 4 === 0 && x.offset % 4 === 0 && residual.offset % 4 === 0;
  const key = `dropoutAdd:${type}:${vectors}`;
  let kernel = cache.get(key);
  if (!kernel) {
    const bound = (vectors ? `vec4<${type}>` : type) as 'vec4<f32>' | typeof type;
    const wide = (value: string) => (type === 'f16' ? `vec4f(${value})` : value);
    const one = (j: number) => `if (i + ${j}u >= p.n) { return; }
let kept${j} = select(${load(type, `x[p.x_offset + i + ${j}u]`)} * p.scale, 0.0, below[${j}]);
y[i + ${j}u] = ${store(type, `${load(type, `residual[p.r_offset + i + ${j}u]`)} + kept${j}`)};`;
    const all = `let kept = select(${wide('x[p.x_offset / 4u + index]')} * p.scale, vec4f(), below);
let sum = ${wide('residual[p.r_offset / 4u + index]')} + kept;
y[index] = ${type === 'f16' ? 'vec4<f16>(sum)' : 'sum'};`;
    kernel = {
      key,
      bindings: [
        { name: 'x', type: bound, access: 'read' },
        { name: 'residual', type: bound, access: 'read' },
        STATE_BINDING,
        { name: 'y', type: bound, access: 'read_write' },
      ],
      params: [
        { name: 'n', type: 'u32' },
        ...BLOCK_PARAMS,
        { name: 'x_offset', type: 'u32' },
        { name: 'r_offset', type: 'u32' },
        { name: 'below', type: 'u32' },
        { name: 'scale', type: 'f32' },
      ],
      workgroupSize: 64,
      enables: type === 'f16' ? ['f16'] : undefined,
      declarations: PHILOX,
      body: `let i = index * 4u;
if (i >= p.n) { return; }
let below = (random_words(index) >> vec4u(8u)) < vec4u(p.below);
${vectors ? all : [0, 1, 2, 3].map(one).join('\n')}`,
    };
    cache.set(key, kernel);
  }
  const { p } = params;
  return [
    {
      kernel,
      buffers: [x.buffer, residual.buffer, state.buffer, y.buffer],
      params: [n, ...blockValues(params), x.offset, residual.offset, threshold(p), p < 1 ? 1 / (1 - p) : 0],
      workgroups: workgroups(Math.ceil(n / 4)),
    },
  ];
}

export function dropoutAddHost(
  [x, residual, state]: readonly HostArray[],
  outputs: readonly HostArray[],
  params: DropoutParams,
): void {
  dropoutHost([x, state], outputs, params);
  const { data } = outputs[0];
  const n = numel(outputs[0].shape);
  for (let i = 0; i < n; i++) data[i] += residual.data[residual.offset + i];
}

export function dropoutAddSimd(
  module: SimdModule,
  [x, residual, state]: readonly SimdView[],
  outputs: readonly SimdView[],
  params: DropoutParams,
): boolean {
  if (!dropoutSimd(module, [x, state], outputs, params)) return false;
  const at = outputs[0].pointer;
  module.add(1, numel(x.shape), at, 0, 1, residual.pointer, 0, 1, at);
  return true;
}
