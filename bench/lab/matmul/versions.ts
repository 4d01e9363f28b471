/** Kernels for adapters in software, in the order in which they were tried. The winner is in src/kernels/matmul-registers.ts. */
import type { Kernel, KernelCall } from '../../../src/device/types.js';
import { matmulKernel } from '../../../src/kernels/matmul.js';
import { type MatmulVariant, withMatmulVariant } from '../../../src/kernels/matmul-variants.js';
import type { Case, Version } from './harness.js';

const each = (count: number, line: (i: number) => string): string =>
  Array.from({ length: count }, (_, i) => line(i)).join('\n');
const LANES = ['x', 'y', 'z', 'w'];

interface Shape {
  /** Rows of an invocation, which has 4 columns. */
  readonly height: number;
  /** Invocations side by side along n, and below one another along m, in a workgroup. */
  readonly across: number;
  readonly down: number;
  /** Steps of k per turn of the loop, where neither operand is contiguous along k: 1 or 4. */
  readonly unroll?: number;
}

/** No shared memory: `height` rows × one vec4 per invocation, operands read as vec4. Sizes are multiples of 4. */
function registers(
  c: Case,
  { height, across, down, unroll = 4 }: Shape,
): { kernel: Kernel; groups: number; params: number[] } {
  const { m, n, k, aT = false, bT = false } = c;
  const step = aT && !bT ? unroll : 4;
  const quads = height / 4;
  const rowsOfA = aT
    ? each(step, (i) => each(quads, (q) => `let a${i}_${q} = a[ak${q} + ${i}u * a_step];`))
    : each(height, (r) => `let a${r} = a[ak${r}];`);
  const aAt = (r: number, i: number): string =>
    aT ? `a${i}_${r >> 2}.${LANES[r & 3]}` : `a${r}.${LANES[i]}`;
  const rowsOfB = bT
    ? `${each(4, (j) => `let t${j} = b[bk${j}];`)}
${each(4, (i) => `let b${i} = vec4f(t0.${LANES[i]}, t1.${LANES[i]}, t2.${LANES[i]}, t3.${LANES[i]});`)}`
    : each(step, (i) => `let b${i} = b[bk + ${i}u * b_step];`);
  const body = `
let columns = p.n / 4u;
let across = (columns + ${across - 1}u) / ${across}u;
let col = (group % across) * ${across}u + ${down === 1 ? 'local' : `local % ${across}u`};
let row = ((group / across)${down === 1 ? '' : ` * ${down}u + local / ${across}u`}) * ${height}u;
if (col >= columns || row >= p.m) { return; }
${aT ? each(quads, (q) => `var ak${q} = min(row / 4u + ${q}u, p.m / 4u - 1u);`) : each(height, (r) => `var ak${r} = min(row + ${r}u, p.m - 1u) * (p.k / 4u);`)}
${bT ? each(4, (j) => `var bk${j} = (col * 4u + ${j}u) * (p.k / 4u);`) : 'var bk = col;'}
let a_step = p.m / 4u; let b_step = columns;
${each(height, (r) => `var c${r} = vec4f();`)}
for (var k = 0u; k < p.k; k += ${step}u) {
${rowsOfA}
${rowsOfB}
${each(step, (i) => each(height, (r) => `c${r} += ${aAt(r, i)} * b${i};`))}
${aT ? each(quads, (q) => `ak${q} += ${step}u * a_step;`) : each(height, (r) => `ak${r} += 1u;`)}
${bT ? each(4, (j) => `bk${j} += 1u;`) : `bk += ${step}u * b_step;`}
}
${each(height, (r) => `if (row + ${r}u < p.m) { y[(row + ${r}u) * columns + col] = c${r}; }`)}`;
  const kernel: Kernel = {
    key: `lab:registers:${height}:${across}:${down}:${unroll}:${aT}:${bT}`,
    bindings: [
      { name: 'a', type: 'vec4<f32>', access: 'read' },
      { name: 'b', type: 'vec4<f32>', access: 'read' },
      { name: 'y', type: 'vec4<f32>', access: 'read_write' },
    ],
    params: ['m', 'n', 'k'].map((name) => ({ name, type: 'u32' as const })),
    workgroupSize: across * down,
    body,
  };
  const groups = Math.ceil(n / 4 / across) * Math.ceil(m / (height * down));
  return { kernel, groups, params: [m, n, k] };
}

function registersVersion(number: number, why: string, shape: Shape): Version {
  const { height, across, down, unroll = 4 } = shape;
  return {
    name: `${number}: ${height} rows, ${across} × ${down}${unroll === 4 ? '' : `, unroll ${unroll}`}`,
    why,
    dispatch(c, { inputs: [a, b], outputs: [y] }: KernelCall<null>) {
      if (c.m % 4 || c.n % 4 || c.k % 4) return null;
      const { kernel, groups, params } = registers(c, shape);
      return [{ kernel, buffers: [a.buffer, b.buffer, y.buffer], params, workgroups: groups }];
    },
  };
}

/** A variant as the library has it. */
function inLibrary(number: number, variant: MatmulVariant, why: string): Version {
  return {
    name: `${number}: ${variant}`,
    why,
    dispatch: (_, call) => withMatmulVariant(variant, () => matmulKernel(call), 1),
  };
}

export const versions: readonly Version[] = [
  { name: '0: in src', why: 'What the library chooses now.', dispatch: (_, call) => matmulKernel(call) },
  registersVersion(1, 'Loads of vec4 along k; the whole workgroup has the same rows of A.', {
    height: 8,
    across: 64,
    down: 1,
  }),
  registersVersion(2, 'Smaller workgroups, more of them: as fast, and small products keep two cores busy.', {
    height: 8,
    across: 16,
    down: 1,
  }),
  registersVersion(3, 'Four rows of blocks per workgroup: no difference where there is work enough.', {
    height: 8,
    across: 16,
    down: 4,
  }),
  registersVersion(4, 'Fewer registers, less to spill: slower, loads count and not registers.', {
    height: 4,
    across: 16,
    down: 1,
  }),
  registersVersion(5, 'So more rows per load of B: 1.3 times as fast.', { height: 16, across: 16, down: 1 }),
  inLibrary(
    6,
    'registers-8x4',
    'One step of k at a time: three quarters as fast, but lavapipe compiles it in a quarter of the time.',
  ),
  inLibrary(7, 'registers-8x8', 'Two vectors of columns: fewer loads per product.'),
  inLibrary(
    8,
    'registers-16x8',
    'Fewer still: 1.5 times version 6 on both adapters. Taken where m ≤ 48 or there are few results.',
  ),
  inLibrary(9, 'tiles-32x32', "Shared memory, a GPU's kernel: barriers cost more than loads here."),
  inLibrary(10, 'tiles-64x64', 'The same with larger tiles.'),
  inLibrary(
    11,
    'registers-32x8',
    'Twice the rows of version 8: mostly 1.05 to 1.25 times as fast from 256³ on, and twice as long to compile. Taken.',
  ),
];
