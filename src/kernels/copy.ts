/** Access pattern: copy between any two layouts, converting the dtype. Reads and writes every element once. */
import { isFloat } from '../device/dtype.js';
import {
  type Dispatch,
  type HostArray,
  type Kernel,
  type KernelCall,
  type Program,
  type WgslType,
  wgslType,
} from '../device/types.js';
import { isContiguous, numel } from '../tensor/shape.js';
import { collapse, forEachRow } from './collapse.js';
import { load, offsetsCode, offsetsValues, overSpan, spans, spanWidth, store } from './pointwise.js';
import { simdUnary } from './simd.js';

const copySimd = simdUnary<null>('copy');
const cache = new Map<string, Kernel>();

/** A WGSL expression for `value` of one type as another. Floats truncate toward zero, as C and PyTorch do. */
export function convert(from: WgslType, to: WgslType, toBool: boolean, value: string): string {
  if (toBool)
    return from === 'f32' || from === 'f16'
      ? `select(0u, 1u, (bitcast<u32>(${value}) & 0x7fffffffu) != 0u)`
      : `select(0u, 1u, ${value} != 0)`;
  const target = to === 'f16' ? 'f32' : to;
  const source = from === 'f16' ? 'f32' : from;
  return source === target ? value : `${target}(${value})`;
}

/** Input 0 (broadcast to the output's shape) is copied into output 0, whatever the strides of either. */
export const copyProgram: Program<null> = {
  name: 'copy',
  host([x]: readonly HostArray[], [y]: readonly HostArray[]) {
    const space = collapse(y.shape, [x, y]);
    const inner = space.shape.length - 1;
    const n = space.shape[inner];
    const [xs, ys] = space.strides.map((s) => s[inner]);
    const bool = y.dtype === 'bool';
    const truncate = isFloat(x.dtype) && !isFloat(y.dtype);
    // Rows that lie close on both sides and need no conversion are copied whole.
    const whole = xs === 1 && ys === 1 && x.dtype === y.dtype;
    forEachRow(space, [x.offset, y.offset], (_, [xo, yo]) => {
      if (whole) y.data.set(x.data.subarray(xo, xo + n), yo);
      else if (bool) for (let i = 0; i < n; i++) y.data[yo + i * ys] = x.data[xo + i * xs] !== 0 ? 1 : 0;
      else if (truncate) for (let i = 0; i < n; i++) y.data[yo + i * ys] = Math.trunc(x.data[xo + i * xs]);
      else for (let i = 0; i < n; i++) y.data[yo + i * ys] = x.data[xo + i * xs];
    });
  },
  simd(module, [x], [y]) {
    return x.dtype === y.dtype && isContiguous(y.shape, y.strides) && copySimd(module, [x], [y], null);
  },
  simdIntegers: true,
  kernel({ inputs: [x], outputs: [y], target }: KernelCall<null>): Dispatch[] {
    const n = numel(y.shape);
    const space = collapse(y.shape, [x, y]);
    // Without conversion one kernel serves all types of four bytes.
    const same = x.dtype === y.dtype && x.dtype !== 'float16';
    const from = same ? 'u32' : wgslType(x.dtype);
    const to = same ? 'u32' : wgslType(y.dtype);
    const toBool = y.dtype === 'bool' && !same;
    const rank = space.shape.length;
    const width = spanWidth(target);
    const key = `copy:${rank}:${from}:${to}:${toBool}:${width}`;
    let kernel = cache.get(key);
    if (!kernel) {
      const { params, code } = offsetsCode(rank, ['x', 'y']);
      const value = store(to, convert(from, to, toBool, load(from, 'x[at_x]')));
      kernel = {
        key,
        bindings: [
          { name: 'x', type: from, access: 'read' },
          { name: 'y', type: to, access: 'read_write' },
        ],
        params: [{ name: 'n', type: 'u32' }, ...params],
        workgroupSize: width,
        enables: from === 'f16' || to === 'f16' ? ['f16'] : undefined,
        body: overSpan(width, `${code}\ny[at_y] = ${value};`),
      };
      cache.set(key, kernel);
    }
    return [
      {
        kernel,
        buffers: [x.buffer, y.buffer],
        params: [n, ...offsetsValues(space, [x.offset, y.offset])],
        workgroups: spans(n),
      },
    ];
  },
};
