/**
 * Access pattern: a recurrent layer over whole sequences, forward and backward. Sequences share nothing, so a workgroup takes
 * some of them through all their steps; where only few would be busy with large states, all share each step instead.
 *
 * Symbols: T steps, B sequences, H hidden size, G gates, A values kept per hidden unit for backward. Step s of sequence b is
 * row `first + b·row_b + s·row_t` of the arrays over all steps, which come as [B, T, ·] or [T, B, ·]; where a sequence is
 * read from its end, row_t is negative. In `acts` [rows, A, H] the last value kept is the h before the step.
 */
import type { DeviceBuffer, Dispatch, Kernel, KernelCall, KernelTarget, View } from '../device/types.js';
import { copyProgram } from './copy.js';
import {
  backwardBody,
  each,
  forwardBody,
  type ScanCell,
  type ScanHalf,
  type Team,
  vectorBindings,
} from './recurrent-text.js';
import { declarations } from './wgsl.js';

/** How a layer reads its sequences. */
export interface ScanParams {
  /** From the last step to the first. */
  readonly reverse: boolean;
  /** Arrays over all steps are [B, T, ·] instead of [T, B, ·]. */
  readonly batchFirst: boolean;
}

/** Sizes of a scan, and where its rows are. */
export interface Scan {
  readonly B: number;
  readonly T: number;
  readonly H: number;
  /** Row of step 0 of sequence 0, rows from sequence to sequence, and from step to step. */
  readonly first: number;
  readonly rowB: number;
  readonly rowT: number;
}

/** The scan of an array [B, T, G·H] or [T, B, G·H]. */
export function scanOf(shape: readonly number[], gates: number, { reverse, batchFirst }: ScanParams): Scan {
  const [B, T] = batchFirst ? shape : [shape[1], shape[0]];
  const step = batchFirst ? 1 : B;
  return {
    ...{ B, T, H: shape[2] / gates },
    first: reverse ? (T - 1) * step : 0,
    rowB: batchFirst ? T : 1,
    rowT: reverse ? -step : step,
  };
}

/** `p.name_offset`, and for strided inputs `p.name_row` and `p.name_col`. */
function inputParams({ inputs, strided }: ScanHalf): string[] {
  return inputs.flatMap((name) => [
    `${name}_offset`,
    ...(strided.includes(name) ? [`${name}_row`, `${name}_col`] : []),
  ]);
}

function inputValues({ inputs, strided }: ScanHalf, views: readonly View[]): number[] {
  return inputs.flatMap((name, i) => {
    const { offset, strides } = views[i];
    if (!strided.includes(name)) return [offset];
    return [offset, strides.length > 1 ? strides[0] : 0, strides[strides.length - 1]];
  });
}

/**
 * Software adapters run a workgroup on one core: few invocations make barriers cheap, sequences taken together share each
 * weight that is loaded, and a vector loads as fast as a number. On a GPU a workgroup streams all weights through its
 * caches at every step, which pays up to LARGE units; beyond, all workgroups share the steps.
 */
function teamOf(target: KernelTarget, { B, H }: Scan, aligned: boolean): Team {
  if (target.kind === 'software') {
    return {
      lanes: 8,
      rows: B >= 12 ? 6 : B >= 4 ? 2 : 1,
      width: 4,
      vectors: aligned && H % 4 === 0,
      blocks: 1,
    };
  }
  const rows = B >= 1024 ? 4 : B >= 512 ? 2 : 1;
  if (H <= LARGE) return { lanes: 256, rows, width: 1, vectors: false, blocks: 1 };
  return { lanes: 64, rows: B >= 4 ? 4 : 1, width: 1, vectors: false, blocks: Math.ceil(H / 64) };
}

const LARGE = 192;

const cache = new Map<string, Kernel>();

function kernelFor(half: ScanHalf, team: Team, more: readonly string[], body: () => string): Kernel {
  const key = `scan:${half.name}:${team.lanes}:${team.rows}:${team.width}:${team.vectors}`;
  let kernel = cache.get(key);
  if (!kernel) cache.set(key, (kernel = build(key, half, team, more, body())));
  return kernel;
}

const BASE = ['rows', 'length', 'size', 'blocks', 'start', 'stop', 'first', 'row_b', 'row_t'];

function build(key: string, half: ScanHalf, team: Team, more: readonly string[], body: string): Kernel {
  const bind = (access: 'read' | 'read_write') => (name: string) => {
    const type = team.vectors && vectorBindings(half).includes(name) ? 'vec4<f32>' : 'f32';
    return { name, type, access } as const;
  };
  return {
    key,
    bindings: [...half.inputs.map(bind('read')), ...half.outputs.map(bind('read_write'))],
    params: [...BASE, ...inputParams(half), ...more].map((name) => ({ name, type: 'u32' })),
    workgroupSize: team.lanes,
    declarations: declarations(...half.snippets),
    body: `let first_row = group / p.blocks * ${team.rows}u;
let count = min(${team.rows}u, p.rows - first_row);
let unit_from = group % p.blocks * ${team.lanes}u + local;
let unit_step = p.blocks * ${team.lanes}u;
// Sequences beyond the last read the last one, and are not stored.
${each(team.rows, (r) => `let at${r} = p.first + min(first_row + ${r}u, p.rows - 1u) * p.row_b;`)}
${body}`,
  };
}

/** Dispatches for inputs [xp, h0, weight, …]. */
export function scanForward(cell: ScanCell, half: ScanHalf) {
  const G = cell.gates;
  return ({ inputs, outputs, params, target, scratch }: KernelCall<ScanParams>): Dispatch[] => {
    const scan = scanOf(inputs[0].shape, G, params);
    const { B, T, H } = scan;
    if (B * H === 0) return [];
    let weight = inputs[2];
    const team = teamOf(target, scan, weight.offset % 4 === 0);
    const kernel = kernelFor(half, team, ['edge', 'w_unit', 'w_k'], () => forwardBody(cell, half, team));
    let steps = [H, 1];
    const before: Dispatch[] = [];
    if (target.kind === 'gpu') {
      // Neighbouring invocations take neighbouring units: let those lie side by side.
      const columns = G * H;
      const { buffer, dtype, offset } = weight;
      const shape = [H, columns];
      const turned: View = { buffer, dtype, offset, shape, strides: [1, H] };
      weight = { buffer: scratch(H * columns * 4), dtype, offset: 0, shape, strides: [columns, 1] };
      before.push(
        ...copyProgram.kernel({ inputs: [turned], outputs: [weight], params: null, target, scratch }),
      );
      steps = [1, columns];
    }
    const views = inputs.map((v, i) => (i === 2 ? weight : v));
    const buffers = [...views, ...outputs].map((v) => v.buffer);
    const values = inputValues(half, views);
    const dispatch = (start: number, stop: number, edge: number, blocks: number) =>
      launch(kernel, buffers, scan, { ...team, blocks }, [start, stop], [...values, edge, ...steps]);
    if (team.blocks === 1) return [...before, dispatch(0, T, 1, 1)];
    const list = [...before, dispatch(0, 0, 1, 1)];
    for (let s = 0; s < T; s++) list.push(dispatch(s, s + 1, 0, team.blocks));
    return list;
  };
}

function launch(
  kernel: Kernel,
  buffers: readonly DeviceBuffer[],
  { B, T, H, first, rowB, rowT }: Scan,
  { rows, blocks }: Team,
  range: readonly number[],
  more: readonly number[],
): Dispatch {
  const params = [B, T, H, blocks, ...range, first, rowB, rowT >>> 0, ...more];
  return { kernel, buffers, params, workgroups: Math.ceil(B / rows) * blocks };
}

/** Dispatches for inputs [gradient of out, …], of which `weight` is one. */
export function scanBackward(cell: ScanCell, half: ScanHalf) {
  return ({ inputs, outputs, params, target }: KernelCall<ScanParams>): Dispatch[] => {
    const scan = scanOf(inputs[0].shape, 1, params);
    const { B, T, H } = scan;
    if (B * H === 0) return [];
    const team = teamOf(target, scan, inputs[half.inputs.indexOf('weight')].offset % 4 === 0);
    const kernel = kernelFor(half, team, [], () => backwardBody(cell, half, team));
    const buffers = [...inputs, ...outputs].map((v) => v.buffer);
    const values = inputValues(half, inputs);
    const dispatch = (start: number, stop: number) =>
      launch(kernel, buffers, scan, team, [start, stop], values);
    if (team.blocks === 1) return [dispatch(0, T)];
    return Array.from({ length: T + 1 }, (_, i) => dispatch(T - i, T - i));
  };
}
