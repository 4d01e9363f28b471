/** Triangles of matrices. */
import { ShapeError } from '../../device/errors.js';
import { type Dispatch, type Kernel, type KernelCall, wgslType } from '../../device/types.js';
import { WORKGROUP, workgroups } from '../../kernels/pointwise.js';
import { formatShape, numel } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { defineOp, type Op } from '../op.js';

const triangles = new Map<string, Kernel>();

/** tril (keep = −1) or triu (keep = 1): zeros beyond a diagonal of the last two dims. */
function defineTriangle(name: 'tril' | 'triu', keep: -1 | 1): Op<[Tensor], { diagonal: number }> {
  const op: Op<[Tensor], { diagonal: number }> = defineOp<[Tensor], { diagonal: number }>({
    name,
    infer([x]) {
      if (x.shape.length < 2) {
        throw new ShapeError(`${name}: expected at least 2 dims, got ${formatShape(x.shape)}`);
      }
      return x;
    },
    host([x], [y], { diagonal }) {
      const [rows, cols] = x.shape.slice(-2);
      const n = numel(x.shape);
      for (let at = 0, row = 0; at < n; at += cols, row = (row + 1) % rows) {
        const edge = row + diagonal;
        for (let c = 0; c < cols; c++) {
          y.data[at + c] = (c - edge) * keep >= 0 ? x.data[x.offset + at + c] : 0;
        }
      }
    },
    kernel({
      inputs: [x],
      outputs: [y],
      params: { diagonal },
    }: KernelCall<{ diagonal: number }>): Dispatch[] {
      // A copy looks at no bits, so one kernel serves all types of four bytes.
      const type = wgslType(x.dtype) === 'f16' ? 'f16' : 'u32';
      const key = `${name}:${type}`;
      let kernel = triangles.get(key);
      if (!kernel) {
        kernel = {
          key,
          bindings: [
            { name: 'x', type, access: 'read' },
            { name: 'y', type, access: 'read_write' },
          ],
          params: [
            { name: 'n', type: 'u32' },
            { name: 'rows', type: 'u32' },
            { name: 'cols', type: 'u32' },
            { name: 'diagonal', type: 'i32' },
            { name: 'offset', type: 'u32' },
          ],
          workgroupSize: WORKGROUP,
          enables: type === 'f16' ? ['f16'] : undefined,
          body: `if (index >= p.n) { return; }
let c = i32(index % p.cols);
let row = i32((index / p.cols) % p.rows);
y[index] = select(${type}(0), x[p.offset + index], c - row ${keep < 0 ? '<=' : '>='} p.diagonal);`,
        };
        triangles.set(key, kernel);
      }
      const n = numel(x.shape);
      const [rows, cols] = x.shape.slice(-2);
      return [
        {
          kernel,
          buffers: [x.buffer, y.buffer],
          params: [n, rows, cols, diagonal, x.offset],
          workgroups: workgroups(n),
        },
      ];
    },
    backward: ({ gradOutput: g, params }) => [op([g], params)],
  });
  return op;
}

const trilOp = defineTriangle('tril', -1);
const triuOp = defineTriangle('triu', 1);

/** The part on and below a diagonal of the last two dims, zeros above; diagonal 0 is the main one. @source torch.tril */
export function tril(x: Tensor, diagonal = 0): Tensor {
  return trilOp([x], { diagonal });
}

/** The part on and above a diagonal of the last two dims, zeros below; diagonal 0 is the main one. @source torch.triu */
export function triu(x: Tensor, diagonal = 0): Tensor {
  return triuOp([x], { diagonal });
}
