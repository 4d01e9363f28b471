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
import { declarations, type Snippet } from './wgsl.js';

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

/** One direction of a cell in WGSL, for one unit of one sequence at one step. */
export interface ScanHalf {
  readonly name: string;
  /** Names of the bindings in order; those in `strided` are [B, H] (or a vector) with any strides. */
  readonly inputs: readonly string[];
  readonly strided: readonly string[];
  readonly outputs: readonly string[];
  /** Statements before the first step (forward) or after the last (backward), for unit `unit` = (b, j) of [B, H]. */
  readonly edge: string;
  /**
   * Statements of a step. Given: the place of unit j in arrays of gates (`x`, [rows, G, H]), of values kept (`act`) and of
   * states (`out_at`, [rows, H]), gates and values p.size apart. Forward has the recurrent products in `sum` and sets `h`;
   * backward has the gradient of h in `d`, `is_last`, `is_first` and `act_before`, and stores the gradients of gates in the
   * output that `gradient` names.
   */
  readonly step: string;
  readonly gradient?: string;
  readonly snippets: readonly Snippet[];
}

/** What the kernels need to know of a cell. */
export interface ScanCell {
  readonly gates: number;
  readonly acts: number;
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

/** Invocations per workgroup, and sequences that it takes. */
interface Team {
  readonly lanes: number;
  readonly rows: number;
  /** Workgroups that share the units of the same sequences; more than 1 means a dispatch per step. */
  readonly blocks: number;
}

/**
 * Software adapters run a workgroup on one core: few invocations make barriers cheap, and sequences taken together share
 * each weight that is loaded. On a GPU a workgroup streams all weights through its caches at every step, which pays up to
 * LARGE units; beyond, all workgroups share the steps.
 */
function teamOf(target: KernelTarget, B: number, H: number, width: number): Team {
  if (target.kind === 'software')
    return { lanes: 8, rows: SOFTWARE_ROWS.find((r) => B >= 4 * r) ?? 1, blocks: 1 };
  const rows = B >= 1024 ? 4 : B >= 512 ? 2 : 1;
  if (H <= LARGE) return { lanes: 256, rows, blocks: 1 };
  return { lanes: 64, rows: B >= 4 ? 4 : 1, blocks: Math.ceil(H / (64 * width)) };
}

const SOFTWARE_ROWS = [8, 6, 4, 2];
const LARGE = 192;

const cache = new Map<string, Kernel>();

function cached(key: string, build: () => Omit<Kernel, 'key'>): Kernel {
  let kernel = cache.get(key);
  if (!kernel) cache.set(key, (kernel = { key, ...build() }));
  return kernel;
}

const BASE = ['rows', 'length', 'size', 'blocks', 'start', 'stop', 'edge', 'first', 'row_b', 'row_t'];

function build(half: ScanHalf, team: Team, more: readonly string[], body: string): Omit<Kernel, 'key'> {
  return {
    bindings: [
      ...half.inputs.map((name) => ({ name, type: 'f32', access: 'read' }) as const),
      ...half.outputs.map((name) => ({ name, type: 'f32', access: 'read_write' }) as const),
    ],
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

function each(count: number, line: (i: number) => string, glue = '\n'): string {
  return Array.from({ length: count }, (_, i) => line(i)).join(glue);
}

function vector(size: number): string {
  return size === 1 ? 'f32' : `vec${size}f`;
}

/** Dispatches for inputs [xp, h0, weight, …]. */
export function scanForward(cell: ScanCell, half: ScanHalf) {
  const G = cell.gates;
  return ({ inputs, outputs, params, target, scratch }: KernelCall<ScanParams>): Dispatch[] => {
    const scan = scanOf(inputs[0].shape, G, params);
    const { B, T, H } = scan;
    if (B * H === 0) return [];
    const team = teamOf(target, B, H, 1);
    const key = `scan:${half.name}:${team.lanes}:${team.rows}`;
    const kernel = cached(key, () =>
      build(half, team, ['w_unit', 'w_k'], forwardBody(cell, half, team.rows)),
    );
    let weight = inputs[2];
    let steps = [H, 1];
    const before: Dispatch[] = [];
    if (target.kind === 'gpu') {
      // Neighbouring invocations take neighbouring units: let those lie side by side.
      const columns = G * H;
      const turned: View = { ...weight, shape: [H, columns], strides: [1, H] };
      const strides = [columns, 1];
      weight = { ...turned, buffer: scratch(H * columns * 4), strides, offset: 0 };
      before.push(
        ...copyProgram.kernel({ inputs: [turned], outputs: [weight], params: null, target, scratch }),
      );
      steps = [1, columns];
    }
    const views = inputs.map((v, i) => (i === 2 ? weight : v));
    const buffers = [...views, ...outputs].map((v) => v.buffer);
    const more = [...inputValues(half, views), ...steps];
    const groups = Math.ceil(B / team.rows);
    const dispatch = (start: number, stop: number, edge: number, blocks: number) =>
      launch(kernel, buffers, scan, [blocks, start, stop, edge], more, groups);
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
  [blocks, start, stop, edge]: readonly number[],
  more: readonly number[],
  groups: number,
): Dispatch {
  const params = [B, T, H, blocks, start, stop, edge, first, rowB, rowT >>> 0, ...more];
  return { kernel, buffers, params, workgroups: groups * blocks };
}

function forwardBody({ gates: G, acts: A }: ScanCell, half: ScanHalf, R: number): string {
  const V = vector(G);
  return `if (p.edge != 0u) {
  for (var r = 0u; r < count; r++) {
    let b = first_row + r;
    let before = ((p.first + b * p.row_b) * ${A}u + ${A - 1}u) * p.size;
    for (var j = unit_from; j < p.size; j += unit_step) {
      let unit = b * p.size + j;
      acts[before + j] = h0[p.h0_offset + b * p.h0_row + j * p.h0_col];
      ${half.edge}
    }
  }
  storageBarrier();
}
for (var s = p.start; s < p.stop; s++) {
  let shift = s * p.row_t;
  for (var j = unit_from; j < p.size; j += unit_step) {
    ${each(R, (r) => `var sum${r} = ${V}(); var h${r} = ((at${r} + shift) * ${A}u + ${A - 1}u) * p.size;`)}
    let gate = p.size * p.w_unit;
    let w_next = p.w_k;
    var w = p.weight_offset + j * p.w_unit;
    let depth = p.size;
    for (var k = 0u; k < depth; k++) {
      let v = ${V}(${each(G, (g) => `weight[w + ${g}u * gate]`, ', ')});
      ${each(R, (r) => `sum${r} += acts[h${r} + k] * v;`)}
      w += w_next;
    }
    var sums = array<${V}, ${R}>(${each(R, (r) => `sum${r}`, ', ')});
    for (var r = 0u; r < count; r++) {
      let sum = sums[r];
      let row = p.first + (first_row + r) * p.row_b + shift;
      let unit = (first_row + r) * p.size + j;
      let x = p.xp_offset + row * ${G}u * p.size + j;
      let act = row * ${A}u * p.size + j;
      ${half.step}
      out[row * p.size + j] = h;
      if (s + 1u < p.length) { acts[((row + p.row_t) * ${A}u + ${A - 1}u) * p.size + j] = h; }
    }
  }
  storageBarrier();
}`;
}

/** Dispatches for inputs [gradient of out, …], of which `weight` is one. */
export function scanBackward(cell: ScanCell, half: ScanHalf) {
  return ({ inputs, outputs, params, target }: KernelCall<ScanParams>): Dispatch[] => {
    const scan = scanOf(inputs[0].shape, 1, params);
    const { B, T, H } = scan;
    if (B * H === 0) return [];
    // Units that an invocation takes together, which share what is loaded of the gradients of gates.
    const width = target.kind === 'software' ? 4 : 1;
    const team = teamOf(target, B, H, width);
    const key = `scan:${half.name}:${team.lanes}:${team.rows}:${width}`;
    const kernel = cached(key, () => build(half, team, [], backwardBody(cell, half, team.rows, width)));
    const buffers = [...inputs, ...outputs].map((v) => v.buffer);
    const more = inputValues(half, inputs);
    const groups = Math.ceil(B / team.rows);
    const dispatch = (start: number, stop: number, edge: number) =>
      launch(kernel, buffers, scan, [team.blocks, start, stop, edge], more, groups);
    if (team.blocks === 1) return [dispatch(0, T, 1)];
    const list: Dispatch[] = [];
    for (let s = T - 1; s >= 0; s--) list.push(dispatch(s, s + 1, 0));
    return [...list, dispatch(0, 0, 1)];
  };
}

function backwardBody({ gates: G, acts: A }: ScanCell, half: ScanHalf, R: number, width: number): string {
  const V = vector(width);
  const D = half.gradient;
  /** sum0, …: the gradients of gates of the rows `ahead` of at0, … times the weights of units j, …. */
  const product = (ahead: string) => `
    ${each(R, (r) => `var d${r} = (at${r} + ${ahead}) * ${G}u * p.size;`)}
    ${each(width, (u) => `var w${u} = p.weight_offset + min(j + ${u}u, p.size - 1u);`)}
    let depth = ${G}u * p.size;
    let w_next = p.size;
    for (var k = 0u; k < depth; k++) {
      let v = ${V}(${each(width, (u) => `weight[w${u}]`, ', ')});
      ${each(R, (r) => `sum${r} += ${D}[d${r} + k] * v;`)}
      ${each(width, (u) => `w${u} += w_next;`)}
    }`;
  /** Statements for each sequence and unit, with the sum as `sum`. */
  const forEach = (body: string) => `
    var sums = array<${V}, ${R}>(${each(R, (r) => `sum${r}`, ', ')});
    for (var r = 0u; r < count; r++) {
      let b = first_row + r;
      for (var u = 0u; u < min(${width}u, p.size - j0); u++) {
        let j = j0 + u;
        let sum = sums[r]${width > 1 ? '[u]' : ''};
        let unit = b * p.size + j;
        ${body}
      }
    }`;
  const kept = `let act = p.acts_offset + row * ${A}u * p.size + j;
        let act_before = act - p.row_t * ${A}u * p.size;`;
  return `for (var left = p.stop; left > p.start; left--) {
  let s = left - 1u;
  let shift = s * p.row_t;
  let is_last = left == p.length;
  let is_first = s == 0u;
  for (var j0 = unit_from * ${width}u; j0 < p.size; j0 += unit_step * ${width}u) {
    ${each(R, (r) => `var sum${r} = ${V}();`)}
    if (!is_last) {
      let j = j0;
      ${product('shift + p.row_t')}
    }
    ${forEach(`let row = p.first + b * p.row_b + shift;
        let out_at = row * p.size + j;
        let d = sum + gh[p.gh_offset + out_at];
        let x = row * ${G}u * p.size + j;
        ${half.inputs.includes('acts') ? kept : ''}
        ${half.step}`)}
  }
  storageBarrier();
}
if (p.edge != 0u) {
  for (var j0 = unit_from * ${width}u; j0 < p.size; j0 += unit_step * ${width}u) {
    ${each(R, (r) => `var sum${r} = ${V}();`)}
    { let j = j0;
      ${product('0u')}
    }
    ${forEach(half.edge)}
  }
}`;
}
