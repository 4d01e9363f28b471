/** Operations that write into an existing tensor, outside the recorded graph. */
import type { DType } from '../../device/dtype.js';
import { DeviceError, DTypeError, ShapeError } from '../../device/errors.js';
import { type Dispatch, type HostArray, type Kernel, type Program, wgslType } from '../../device/types.js';
import { collapse, forEachRow } from '../../kernels/collapse.js';
import { copyProgram } from '../../kernels/copy.js';
import {
  load,
  offsetsCode,
  offsetsValues,
  overSpan,
  spans,
  spanWidth,
  store,
} from '../../kernels/pointwise.js';
import { broadcastShapes, formatShape, numel, sameShape } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { contiguousCopy } from '../contiguous.js';
import { executeInPlace } from '../op.js';
import { checkWritable } from '../writable.js';
import { checkDType, type DTypeClass } from './define.js';
import { operand } from './operands.js';

type Operator = '+' | '-' | '*' | '/';

const kernels = new Map<string, Kernel>();

/** y ∘= x for a broadcast x. Reads both and writes y, once per element. */
function updateProgram(name: string, operator: Operator): Program<null> {
  return {
    name,
    host([x]: readonly HostArray[], [y]: readonly HostArray[]) {
      const space = collapse(y.shape, [x, y]);
      const inner = space.shape.length - 1;
      const n = space.shape[inner];
      const [xs, ys] = space.strides.map((s) => s[inner]);
      const [a, b] = [y.data, x.data];
      const wraps = y.dtype === 'int32' || y.dtype === 'uint32';
      forEachRow(space, [x.offset, y.offset], (_, [xo, yo]) => {
        if (operator === '+') for (let i = 0; i < n; i++) a[yo + i * ys] += b[xo + i * xs];
        else if (operator === '-') for (let i = 0; i < n; i++) a[yo + i * ys] -= b[xo + i * xs];
        else if (operator === '/') for (let i = 0; i < n; i++) a[yo + i * ys] /= b[xo + i * xs];
        else if (wraps)
          for (let i = 0; i < n; i++) a[yo + i * ys] = Math.imul(a[yo + i * ys], b[xo + i * xs]);
        else for (let i = 0; i < n; i++) a[yo + i * ys] *= b[xo + i * xs];
      });
    },
    kernel({ inputs: [x], outputs: [y], target }): Dispatch[] {
      const space = collapse(y.shape, [x, y]);
      const rank = space.shape.length;
      const type = wgslType(y.dtype);
      const width = spanWidth(target);
      const key = `${name}:${rank}:${type}:${width}`;
      let kernel = kernels.get(key);
      if (!kernel) {
        const { params, code } = offsetsCode(rank, ['x', 'y']);
        const value = `${load(type, 'y[at_y]')} ${operator} ${load(type, 'x[at_x]')}`;
        kernel = {
          key,
          bindings: [
            { name: 'x', type, access: 'read' },
            { name: 'y', type, access: 'read_write' },
          ],
          params: [{ name: 'n', type: 'u32' }, ...params],
          workgroupSize: width,
          enables: type === 'f16' ? ['f16'] : undefined,
          body: overSpan(width, `${code}\ny[at_y] = ${store(type, value)};`),
        };
        kernels.set(key, kernel);
      }
      const n = numel(y.shape);
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
}

/** Runs a program that reads `source` and writes `x`, through a copy where both lie in one storage. */
function write(op: string, program: Program<null>, x: Tensor, source: Tensor): Tensor {
  if (source.device !== x.device) {
    throw new DeviceError(
      `${op}: expected tensors on one device, got ${x.device.info.name} and ${source.device.info.name}; move one with await x.to(device)`,
    );
  }
  if (!sameShape(broadcastShapes(op, x.shape, source.shape), x.shape)) {
    throw new ShapeError(
      `${op}: expected a shape that broadcasts to ${formatShape(x.shape)}, got ${formatShape(source.shape)}`,
    );
  }
  // WebGPU forbids one buffer bound for reading and for writing in a dispatch.
  const shared = source.storage === x.storage;
  const from = shared ? contiguousCopy(source) : source;
  executeInPlace(program, [from], [x], null);
  if (shared) from.release();
  return x;
}

function update(
  op: string,
  operator: Operator,
  accepts: DTypeClass,
): (x: Tensor, y: Tensor | number) => Tensor {
  const program = updateProgram(op, operator);
  return (x, y) => {
    checkDType(op, x.dtype, accepts);
    const source = operand(op, y, x);
    checkWritable(op, x, source);
    if (source.dtype !== x.dtype) throw mixed(op, x.dtype, source.dtype);
    return write(op, program, x, source);
  };
}

function mixed(op: string, x: DType, y: DType): DTypeError {
  return new DTypeError(`${op}: expected one dtype, got ${x} and ${y}; convert with x.to('${x}')`);
}

/**
 * Overwrites x with the source, broadcast and converted to its dtype. Returns x.
 *
 * @throws GradError when x or the source requires a gradient outside noGrad.
 * @throws ShapeError when the source does not broadcast to x, or the elements of x share memory.
 * @source torch.Tensor.copy_
 */
export function copy_(x: Tensor, source: Tensor): Tensor {
  checkWritable('copy_', x, source);
  return write('copy_', copyProgram, x, source);
}

/** Overwrites x with a number. Returns x. @throws GradError when x requires a gradient outside noGrad. @source torch.Tensor.fill_ */
export function fill_(x: Tensor, value: number | boolean): Tensor {
  checkWritable('fill_', x, null);
  return write('fill_', copyProgram, x, operand('fill_', Number(value), x));
}

/** Overwrites x with zeros. Returns x. @throws GradError when x requires a gradient outside noGrad. @source torch.Tensor.zero_ */
export function zero_(x: Tensor): Tensor {
  checkWritable('zero_', x, null);
  return write('zero_', copyProgram, x, operand('zero_', 0, x));
}

/** x += y, y broadcast. Returns x. @throws GradError when x or y requires a gradient outside noGrad. @source torch.Tensor.add_ */
export const add_ = update('add_', '+', 'number');

/** x −= y, y broadcast. Returns x. @throws GradError when x or y requires a gradient outside noGrad. @source torch.Tensor.sub_ */
export const sub_ = update('sub_', '-', 'number');

/** x ·= y, y broadcast. Returns x. @throws GradError when x or y requires a gradient outside noGrad. @source torch.Tensor.mul_ */
export const mul_ = update('mul_', '*', 'number');

/** x /= y for floats, y broadcast. Returns x. @throws GradError when x or y requires a gradient outside noGrad. @source torch.Tensor.div_ */
export const div_ = update('div_', '/', 'float');
