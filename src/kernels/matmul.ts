/**
 * Access pattern: matrix products, C[m, n] = Σₖ A[m, k] · B[k, n], any strides of A and B, batches included, with bias, residual
 * and activation added on the way out.
 *
 * Reads m·k + k·n elements, many times over, through caches or shared memory; writes m·n; 2·m·n·k operations, summed in
 * float32 in the order of k, in parts of k where there are few results. `matmul-variants.ts` says which kernel computes which
 * case. All are specialised on how operands lie in memory (vectors or not, transposed or not), dtypes and what follows the
 * product, never on m, n, k.
 */
import {
  type DeviceBuffer,
  type Dispatch,
  type Kernel,
  type KernelCall,
  type KernelTarget,
  wgslType,
} from '../device/types.js';
import { matmulLayout } from './matmul-layout.js';
import { REGISTERS_SIZE, registersReading, registersText } from './matmul-registers.js';
import { rowsColumns, rowsText } from './matmul-rows.js';
import { combineParts } from './matmul-split.js';
import { MATRIX_TILE, matrixText } from './matmul-subgroup-matrix.js';
import {
  buildKernel,
  endsOf,
  type MatmulJob,
  operands,
  partSize,
  type Reading,
  readingOf,
  type TextForm,
  type VariantText,
} from './matmul-text.js';
import { sumGroups, tilesText } from './matmul-tiles.js';
import { chooseVariant, type MatmulVariant, matrixShapeFor, REGISTERS, TILES } from './matmul-variants.js';

/** Multiplications up to which a product is small. */
const SMALL = 2 ** 22;

const cache = new Map<string, Kernel>();

/** Dispatches for output 0 = input 0 · input 1. */
export function matmulKernel(call: KernelCall<null>): Dispatch[] {
  const { inputs, outputs } = call;
  const layout = matmulLayout(inputs[0], inputs[1]);
  const [a, b] = layout.swapped ? [inputs[1], inputs[0]] : inputs;
  return matmulDispatches({ layout, a, b, y: outputs[0] }, call);
}

/** Dispatches for a product with what follows it: one, or two where k is split. */
export function matmulDispatches(
  job: MatmulJob,
  { target, scratch }: Pick<KernelCall, 'target' | 'scratch'>,
): Dispatch[] {
  const { layout, a, sums } = job;
  const { m, n, k, entries } = layout;
  if (m * n * entries === 0 && !sums) return [];
  const whole = formOf(job);
  const { variant, parts } = chooseVariant(
    { m, n, k, entries, dtype: a.dtype, sums: sums !== undefined },
    target,
    (v) => groupsOf(v, whole, m, n, entries, target),
  );
  // A multiple of every kernel's step.
  const kPart = Math.max(Math.ceil(k / parts / 32) * 32, 32);
  const layers = Math.max(Math.ceil(k / kPart), 1);
  const split = parts > 1 && layers > 1;
  // One kernel for nearly all, where a further one takes longer to compile than it saves.
  const small = Boolean(target.dearPlaces) && m * n * k * entries <= SMALL && whole.rank === 0 && !sums;
  const form = formFor(variant, split ? { ...whole, split } : whole, {
    linear: job.epilogue !== undefined,
    small,
  });
  const plan = planOf(variant, form, target, n, m);
  const key = keyOf(plan.key, form);
  let kernel = cache.get(key);
  if (!kernel) cache.set(key, (kernel = buildKernel(key, form, plan.text())));
  const products = groupsOf(variant, form, m, n, entries, target);
  const tiles = products * (split ? layers : 1);
  let workgroups = tiles;
  if (sums) workgroups += plan.sumGroups(m, split ? layers : 1);
  const partial: DeviceBuffer | null = split ? scratch(4 * layers * partSize(job)) : null;
  const dispatches: Dispatch[] = [
    {
      kernel,
      ...operands(job, form, { kPart: split ? kPart : k, ends: plan.ends, tiles, partial }),
      workgroups,
    },
  ];
  if (partial) dispatches.push(combineParts(job, whole, partial, layers));
  return dispatches;
}

/** The form that a variant takes: not all read and write vectors. */
function formFor(
  variant: MatmulVariant,
  form: TextForm,
  { linear, small }: { linear: boolean; small: boolean },
): TextForm {
  const single = { ...form, vectors: false, residual: form.residual && { ...form.residual, vectors: false } };
  if (!REGISTERS[variant]) return variant === 'rows' ? single : form;
  const reading = (r: Reading): Reading => (small ? 'single' : registersReading(r));
  const registers = { ...single, a: reading(form.a), b: reading(form.b) };
  // Adapters in software compile a further text for longer than they look for what is not there.
  if (!(linear || small) || form.split || form.activation || form.z) return registers;
  const [, , type] = form.types;
  return {
    ...registers,
    asked: true,
    bias: form.bias ?? type,
    residual: registers.residual ?? { type, vectors: false },
  };
}

/** What the text depends on, whatever the variant. */
function formOf({ layout: l, a, b, y, epilogue = {}, sums }: MatmulJob): TextForm {
  const [aSteps, bSteps] = l.entries > 1 ? l.batch.strides : [[], []];
  const { bias, residual, activation, z } = epilogue;
  return {
    a: readingOf(a, l.k, l.m, l.aCol, l.aRow, aSteps),
    b: readingOf(b, l.k, l.n, l.bRow, l.bCol, bSteps),
    types: [wgslType(a.dtype), wgslType(b.dtype), wgslType(y.dtype)],
    vectors: l.n % 4 === 0,
    rank: l.entries > 1 ? l.batch.shape.length : 0,
    split: false,
    sums: sums !== undefined,
    asked: false,
    bias: bias ? wgslType(bias.dtype) : null,
    residual: residual
      ? { type: wgslType(residual.dtype), vectors: l.n % 4 === 0 && residual.offset % 4 === 0 }
      : null,
    activation: activation ?? null,
    z: z ? wgslType(z.dtype) : null,
  };
}

function keyOf(variant: string, f: TextForm): string {
  const tail = [
    f.asked && 'asked',
    f.bias && `bias ${f.bias}`,
    f.residual && `residual ${f.residual.type}${f.residual.vectors ? ' vectors' : ''}`,
    f.activation?.name,
    f.z && `z ${f.z}`,
    f.sums && 'sums',
  ].filter(Boolean);
  const parts = [f.a, f.b, f.vectors ? 'vectors' : 'single', ...f.types, f.rank];
  return `matmul:${variant}:${parts.join(':')}${f.split ? `:split${f.sums ? ' sums' : ''}` : `:${tail.join(', ')}`}`;
}

/**
 * Invocations of a workgroup of `registers` along n: as many as there are columns for, up to 16. Whole subgroups of them
 * share what they read of A, unless most would have no columns.
 */
function registersPlan(
  n: number,
  variant: MatmulVariant,
  target: KernelTarget,
): { across: number; team: number } {
  const { height, wide } = REGISTERS[variant]!;
  const vectors = Math.ceil(n / (4 * wide));
  const across = vectors > 8 ? 16 : vectors > 4 ? 8 : vectors > 1 ? 4 : 1;
  const size = (target.subgroups && target.subgroupSize) || 1;
  const shares = height >= 4 && REGISTERS_SIZE % size === 0 && vectors > size / 4;
  return shares ? { across: Math.max(across, size), team: size } : { across, team: 1 };
}

/** Workgroups of a variant for all results, k in one part. */
function groupsOf(
  variant: MatmulVariant,
  form: TextForm,
  m: number,
  n: number,
  entries: number,
  target: KernelTarget,
): number {
  const [rows, columns] = blockOf(variant, form, n, target);
  return Math.ceil(m / rows) * Math.ceil(n / columns) * entries;
}

/** Rows and columns of results of a workgroup. */
function blockOf(
  variant: MatmulVariant,
  form: TextForm,
  n: number,
  target: KernelTarget,
): [rows: number, columns: number] {
  const tile = TILES[variant];
  if (tile) return [tile.rowVectors * 4 * tile.side, tile.colVectors * 4 * tile.side];
  if (variant === 'rows') return [4, rowsColumns(form)];
  if (variant === 'matrix-64x64') return [MATRIX_TILE, MATRIX_TILE];
  const { height, wide } = REGISTERS[variant]!;
  const { across } = registersPlan(n, variant, target);
  return [height * (REGISTERS_SIZE / across), 4 * wide * across];
}

interface Plan {
  readonly key: string;
  readonly text: () => VariantText;
  /** Ends of the loops over an invocation's results. */
  readonly ends: number;
  /** Workgroups that add up the rows of A. */
  readonly sumGroups: (m: number, layers: number) => number;
}

function planOf(variant: MatmulVariant, form: TextForm, target: KernelTarget, n: number, m: number): Plan {
  const none = () => 0;
  const tile = TILES[variant];
  if (tile) {
    return {
      key: variant,
      text: () => tilesText(form, tile),
      ends: endsOf(4 * tile.rowVectors, tile.colVectors),
      sumGroups: (rows, layers) => sumGroups(rows) * layers,
    };
  }
  if (variant === 'rows') {
    const height = m > 1 ? 4 : 1;
    return { key: `rows-${height}`, text: () => rowsText(form, height), ends: 0, sumGroups: none };
  }
  if (variant === 'matrix-64x64') {
    const shape = matrixShapeFor(form.types[0] === 'f16' ? 'float16' : 'float32', target)!;
    const size = target.subgroupSize!;
    const { M, N, K, componentType } = shape;
    return {
      key: `matrix-64x64:${size}:${componentType}:${M}:${N}:${K}`,
      text: () => matrixText(form, shape, size),
      ends: endsOf(0, 0),
      sumGroups: (rows, layers) => sumGroups(rows) * layers,
    };
  }
  const shape = REGISTERS[variant]!;
  const { across, team } = registersPlan(n, variant, target);
  return {
    key: team > 1 ? `${variant}:by ${team}` : variant,
    text: () => registersText(form, shape, team),
    ends: endsOf(shape.height, shape.wide, across),
    sumGroups: (rows, layers) => Math.ceil((Math.ceil(rows / 4) * layers) / REGISTERS_SIZE),
  };
}
