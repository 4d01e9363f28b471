/** Debug mode's check that indices are in range: the device looks for the first that is not, the next await reports it. */
import type { Dispatch, HostArray, Kernel, KernelCall, Program } from '../device/types.js';
import { fillDispatch } from '../kernels/fill.js';
import { indexError } from '../kernels/gather.js';
import { WORKGROUP, workgroups } from '../kernels/pointwise.js';
import { capturing } from '../tensor/capturing.js';
import { unscoped } from '../tensor/lifetime.js';
import { addCheck } from '../tensor/pending.js';
import { numel } from '../tensor/shape.js';
import { Tensor } from '../tensor/tensor.js';
import { contiguousCopy } from './contiguous.js';
import { mode } from './mode.js';

const NONE = 0xffffffff;

const FIND: Kernel = {
  key: 'check-indices:find',
  bindings: [
    { name: 'picks', type: 'u32', access: 'read' },
    { name: 'found', type: 'atomic<u32>', access: 'read_write' },
  ],
  params: [
    { name: 'n', type: 'u32' },
    { name: 'offset', type: 'u32' },
    { name: 'size', type: 'u32' },
  ],
  workgroupSize: WORKGROUP,
  // A minimum of integers is the same in any order.
  body: 'if (index < p.n && picks[p.offset + index] >= p.size) { atomicMin(&found[0], index); }',
};

const FETCH: Kernel = {
  key: 'check-indices:fetch',
  bindings: [
    { name: 'picks', type: 'u32', access: 'read' },
    { name: 'found', type: 'u32', access: 'read_write' },
  ],
  params: [{ name: 'offset', type: 'u32' }],
  workgroupSize: 1,
  body: `if (found[0] != ${NONE}u) { found[1] = picks[p.offset + found[0]]; }`,
};

/** Output: the first position whose index is out of range (NONE for none) and the 32 bits of that index. */
const findProgram: Program<number> = {
  name: 'checkIndices',
  host([index]: readonly HostArray[], [found]: readonly HostArray[], size: number) {
    found.data.fill(NONE, 0, 2);
    for (let i = 0; i < numel(index.shape); i++) {
      const pick = index.data[index.offset + i];
      if (pick >= 0 && pick < size) continue;
      found.data[0] = i;
      found.data[1] = pick;
      return;
    }
  },
  kernel({ inputs: [index], outputs: [found], params: size }: KernelCall<number>): Dispatch[] {
    const n = numel(index.shape);
    return [
      fillDispatch(found, NONE),
      {
        kernel: FIND,
        buffers: [index.buffer, found.buffer],
        params: [n, index.offset, size],
        workgroups: workgroups(n),
      },
      { kernel: FETCH, buffers: [index.buffer, found.buffer], params: [index.offset], workgroups: 1 },
    ];
  },
};

/**
 * In debug mode, makes the next await on the index's device throw a ShapeError if an element lies outside [0, size).
 * Outside it does nothing. Call it after the operation that takes the index: the CPU device has thrown by then.
 */
export function checkIndices(op: string, index: Tensor, size: number): void {
  // A capture cannot wait for the answer.
  if (!mode.debug || capturing.current) return;
  const { device } = index;
  const row = index.isContiguous ? index : contiguousCopy(index);
  const found = unscoped(() => Tensor.allocate(device, 'uint32', [2], 'checkIndices'));
  device.execute(findProgram, [row], [found], size);
  if (row !== index) row.release();
  const signed = index.dtype === 'int32';
  addCheck(device, async () => {
    try {
      const raw = new Uint32Array(await device.read(found.buffer, 0, 8));
      if (raw[0] !== NONE) throw indexError(op, size, signed ? raw[1] | 0 : raw[1], raw[0]);
    } finally {
      found.release();
    }
  });
}
