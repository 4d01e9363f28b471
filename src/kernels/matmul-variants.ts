/** Which kernel computes a matrix product: a table of rules per class of adapter, which measurements can replace. */
import type { DType } from '../device/dtype.js';
import type { KernelTarget } from '../device/types.js';
import { type MatrixShape, matrixShapes } from './matmul-subgroup-matrix.js';
import type { TileShape } from './matmul-tiles.js';

/** What the choice depends on: C[m, n] = A[m, k] · B[k, n] for each of `entries`. */
export interface MatmulCase {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly entries: number;
  /** Of A and B. */
  readonly dtype: DType;
  /** The rows of A are added up beside it. */
  readonly sums?: boolean;
}

export type MatmulVariant =
  | 'registers-32x8'
  | 'registers-16x8'
  | 'registers-8x8'
  | 'registers-8x4'
  | 'registers-4x4'
  | 'registers-1x4'
  | 'tiles-128x128'
  | 'tiles-128x64'
  | 'tiles-64x64'
  | 'tiles-32x32'
  | 'rows'
  | 'matrix-64x64';

/** A line of the table. The first rule whose bounds hold, and whose variant can run the case, is taken. */
export interface MatmulRule {
  /** Largest m, n, k and number of results (entries · m · n) that the rule is for. */
  readonly m?: number;
  readonly n?: number;
  readonly k?: number;
  readonly results?: number;
  readonly dtype?: DType;
  readonly variant: MatmulVariant;
  /** Into how many parts k is split; left out: as many as keep the adapter busy. */
  readonly parts?: number;
}

export type MatmulTable = Readonly<Record<KernelTarget['kind'], readonly MatmulRule[]>>;

/** Software: measured on SwiftShader and lavapipe (bench/lab/matmul). GPU: set by reasoning, to be tuned on each card. */
const DEFAULT: MatmulTable = {
  software: [
    { m: 1, variant: 'registers-1x4' },
    { m: 4, variant: 'registers-4x4' },
    { results: 1024, variant: 'registers-4x4' },
    { results: 4095, variant: 'registers-8x4' },
    { m: 8, variant: 'registers-8x8' },
    { m: 48, variant: 'registers-16x8' },
    { results: 32768, variant: 'registers-16x8' },
    { variant: 'registers-32x8' },
  ],
  gpu: [
    { m: 4, variant: 'rows' },
    { dtype: 'float16', variant: 'matrix-64x64' },
    { results: 64 * 64 * 64, variant: 'tiles-32x32' },
    { results: 1024 * 1536, variant: 'tiles-64x64' },
    { variant: 'tiles-128x128' },
  ],
};

let table: MatmulTable = DEFAULT;
let forced: { readonly variant: MatmulVariant; readonly parts?: number } | null = null;

/**
 * Replaces the rules by which kernels for matrix products are chosen, e.g. by those that were measured on this adapter and
 * kept as JSON; classes left out, and null, bring back the built-in ones.
 */
export function setMatmulTable(rules: Partial<MatmulTable> | null): void {
  table = { ...DEFAULT, ...rules };
}

/** Runs `fn` with one variant, and one number of parts, for every product that it can compute: for measuring. */
export function withMatmulVariant<T>(variant: MatmulVariant, fn: () => T, parts?: number): T {
  const before = forced;
  forced = { variant, parts };
  try {
    return fn();
  } finally {
    forced = before;
  }
}

/** Rows, and vectors of 4 columns, that an invocation of each variant keeps in registers. */
export const REGISTERS: Partial<Record<MatmulVariant, { readonly height: number; readonly wide: number }>> = {
  'registers-32x8': { height: 32, wide: 2 },
  'registers-16x8': { height: 16, wide: 2 },
  'registers-8x8': { height: 8, wide: 2 },
  'registers-8x4': { height: 8, wide: 1 },
  'registers-4x4': { height: 4, wide: 1 },
  'registers-1x4': { height: 1, wide: 1 },
};

/** The shared-memory tiles of each variant. */
export const TILES: Partial<Record<MatmulVariant, TileShape>> = {
  'tiles-128x128': { rowVectors: 2, colVectors: 2, side: 16 },
  'tiles-128x64': { rowVectors: 2, colVectors: 1, side: 16 },
  'tiles-64x64': { rowVectors: 1, colVectors: 1, side: 16 },
  'tiles-32x32': { rowVectors: 1, colVectors: 1, side: 8 },
};

/** The shapes of matrix units that a variant can use on this adapter, or null. */
export function matrixShapeFor(dtype: DType, target: KernelTarget): MatrixShape | null {
  return matrixShapes(target).find((s) => s.dtype === dtype) ?? null;
}

/** Every variant that can compute a case on an adapter: what `npm run bench -- tune` tries. */
export function matmulVariants(c: MatmulCase, target: KernelTarget): MatmulVariant[] {
  const all = [...Object.keys(REGISTERS), ...Object.keys(TILES)] as MatmulVariant[];
  if (c.m <= 4 && !c.sums) all.push('rows');
  if (c.m >= 16 && c.n >= 16 && matrixShapeFor(c.dtype, target)) all.push('matrix-64x64');
  return all;
}

/** Least steps of k that a part is worth, and how many workgroups keep an adapter busy. */
const SPLIT = {
  software: { steps: 256, groups: 16 },
  gpu: { steps: 256, groups: 192 },
} as const;

/** The variant for a case, and into how many parts its k is split: `groups` tells how many workgroups a variant has. */
export function chooseVariant(
  c: MatmulCase,
  target: KernelTarget,
  groups: (variant: MatmulVariant) => number,
): { variant: MatmulVariant; parts: number } {
  const possible = matmulVariants(c, target);
  const results = c.entries * c.m * c.n;
  const rule =
    forced && possible.includes(forced.variant)
      ? forced
      : table[target.kind].find(
          (r) =>
            c.m <= (r.m ?? Infinity) &&
            c.n <= (r.n ?? Infinity) &&
            c.k <= (r.k ?? Infinity) &&
            results <= (r.results ?? Infinity) &&
            (r.dtype ?? c.dtype) === c.dtype &&
            possible.includes(r.variant),
        );
  const variant = rule?.variant ?? 'registers-8x4';
  if (rule?.parts) return { variant, parts: rule.parts };
  const { steps, groups: wanted } = SPLIT[target.kind];
  const parts = Math.min(Math.floor(c.k / steps), Math.floor(wanted / Math.max(groups(variant), 1)));
  return { variant, parts: variant === 'rows' ? 1 : Math.max(parts, 1) };
}
