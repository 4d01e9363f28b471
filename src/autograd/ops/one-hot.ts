/** Classes as rows of zeros with a single one. */
import type { DType } from '../../device/dtype.js';
import { ShapeError } from '../../device/errors.js';
import { type Dispatch, type HostArray, type Kernel, type KernelCall, wgslType } from '../../device/types.js';
import { indexError } from '../../kernels/gather.js';
import { WORKGROUP, workgroups } from '../../kernels/pointwise.js';
import { numel } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { checkIndices } from '../indices.js';
import { defineOp } from '../op.js';
import { checkIndexDType } from './index.js';

interface OneHotParams {
  readonly classes: number;
  readonly dtype: DType;
}

const cache = new Map<string, Kernel>();

const oneHotOp = defineOp<[Tensor], OneHotParams>({
  name: 'oneHot',
  infer([index], { classes, dtype }) {
    checkIndexDType('oneHot', index);
    if (!Number.isInteger(classes) || classes < 1) {
      throw new ShapeError(`oneHot: expected at least 1 class, got ${classes}`);
    }
    return { shape: [...index.shape, classes], dtype };
  },
  host([index]: readonly HostArray[], [y]: readonly HostArray[], { classes }) {
    const n = numel(index.shape);
    y.data.fill(0, 0, n * classes);
    for (let i = 0; i < n; i++) {
      const pick = index.data[index.offset + i];
      if (pick < 0 || pick >= classes) throw indexError('oneHot', classes, pick, i);
      y.data[i * classes + pick] = 1;
    }
  },
  kernel({ inputs: [index], outputs: [y], params: { classes } }: KernelCall<OneHotParams>): Dispatch[] {
    const type = wgslType(y.dtype);
    let kernel = cache.get(type);
    if (!kernel) {
      kernel = {
        key: `one-hot:${type}`,
        bindings: [
          { name: 'picks', type: 'u32', access: 'read' },
          { name: 'y', type, access: 'read_write' },
        ],
        params: [
          { name: 'n', type: 'u32' },
          { name: 'classes', type: 'u32' },
          { name: 'offset', type: 'u32' },
        ],
        workgroupSize: WORKGROUP,
        enables: type === 'f16' ? ['f16'] : undefined,
        body: `if (index >= p.n) { return; }
y[index] = select(${type}(0), ${type}(1), picks[p.offset + index / p.classes] == index % p.classes);`,
      };
      cache.set(type, kernel);
    }
    const n = numel(y.shape);
    return [
      {
        kernel,
        buffers: [index.buffer, y.buffer],
        params: [n, classes, index.offset],
        workgroups: workgroups(n),
      },
    ];
  },
  differentiable: false,
});

/**
 * y[…, c] = 1 where c is the index, else 0.
 *
 * @param index any shape, int32 or uint32, in [0, numClasses)
 * @param options.dtype int32 by default
 * @returns [..., numClasses]
 * @throws ShapeError for an index out of range: at once on the CPU device, in debug mode at the next await elsewhere
 * @source torch.nn.functional.one_hot
 */
export function oneHot(index: Tensor, numClasses: number, options: { dtype?: DType } = {}): Tensor {
  const y = oneHotOp([index], { classes: numClasses, dtype: options.dtype ?? 'int32' });
  checkIndices('oneHot', index, numClasses);
  return y;
}
