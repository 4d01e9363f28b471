/** The WGSL of recurrent layers; see recurrent-scan.ts for symbols and layouts. */
import type { Snippet } from './wgsl.js';

/** One direction of a cell in WGSL, for one unit of one sequence at one step. */
export interface ScanHalf {
  readonly name: string;
  /** Names of the bindings in order; those in `strided` are [B, H] (or a vector) with any strides. */
  readonly inputs: readonly string[];
  readonly strided: readonly string[];
  readonly outputs: readonly string[];
  /** Forward: statements before the first step, for unit `unit` = (b, j) of [B, H]. */
  readonly edge?: string;
  /** Backward: the cell leaves in dh what of the gradient of h bypasses the recurrent product. */
  readonly carry?: true;
  /**
   * Statements of a step. Given: the place of unit j in arrays of gates (`x`, [rows, G, H]), of values kept (`act`) and of
   * states (`out_at`, [rows, H]), gates and values p.size apart. Forward has the recurrent products in `sum` and sets
   * `h`; backward has the gradient of h in `d`, `is_last`, `is_first` and `act_before`, and stores the gradients of gates in the
   * output that `gradient` names. `at(name, index)` is an element of the forward's `acts`, or of that output.
   */
  readonly step: (at: Element) => string;
  readonly gradient?: string;
  readonly snippets: readonly Snippet[];
}

/** What the kernels need to know of a cell. */
export interface ScanCell {
  readonly gates: number;
  readonly acts: number;
}

/** How a kernel is laid out: all that its text depends on besides the cell. */
export interface Team {
  /** Invocations of a workgroup. */
  readonly lanes: number;
  /** Sequences that a workgroup takes. */
  readonly rows: number;
  /** Units that an invocation takes together in a backward step. */
  readonly width: number;
  /** Weights, states and gradients of gates are loaded four at a time. */
  readonly vectors: boolean;
  /** Workgroups that share the units of the same sequences; more than 1 means a dispatch per step. */
  readonly blocks: number;
}

/** What kernels with vectors load four at a time. */
export function vectorBindings(half: ScanHalf): readonly string[] {
  return ['weight', half.gradient ?? 'acts'];
}

type Element = (name: string, index: string) => string;

const LANES = ['x', 'y', 'z', 'w'];

/** An element of a binding, as a team has it. */
function elementOf(half: ScanHalf, { vectors }: Team): Element {
  const wide = vectors ? vectorBindings(half) : [];
  return (name, index) =>
    wide.includes(name) ? `${name}[(${index}) / 4u][(${index}) % 4u]` : `${name}[${index}]`;
}

export function each(count: number, line: (i: number) => string, glue = '\n'): string {
  return Array.from({ length: count }, (_, i) => line(i)).join(glue);
}

function vector(size: number): string {
  return size === 1 ? 'f32' : `vec${size}f`;
}

/** Adds W·h to sum0, …, for unit j of the rows at h0, …, the places of their h. */
function forwardProduct(G: number, { rows, vectors }: Team): string {
  const V = vector(G);
  if (!vectors) {
    return `let gate = p.size * p.w_unit;
    let w_next = p.w_k;
    let depth = p.size;
    var w = p.weight_offset + j * p.w_unit;
    for (var k = 0u; k < depth; k++) {
      let v = ${V}(${each(G, (g) => `weight[w + ${g}u * gate]`, ', ')});
      ${each(rows, (r) => `sum${r} += acts[h${r} + k] * v;`)}
      w += w_next;
    }`;
  }
  return `let gate = p.size * p.size / 4u;
    let depth = p.size / 4u;
    var w = (p.weight_offset + j * p.size) / 4u;
    for (var k = 0u; k < depth; k++) {
      ${each(G, (g) => `let w${g} = weight[w + ${g}u * gate];`)}
      ${each(rows, (r) => `{ let h = acts[h${r} / 4u + k]; sum${r} += ${V}(${each(G, (g) => `dot(h, w${g})`, ', ')}); }`)}
      w++;
    }`;
}

export function forwardBody({ gates: G, acts: A }: ScanCell, half: ScanHalf, team: Team): string {
  const V = vector(G);
  const R = team.rows;
  const at = elementOf(half, team);
  return `if (p.edge != 0u) {
  for (var r = 0u; r < count; r++) {
    let b = first_row + r;
    let before = ((p.first + b * p.row_b) * ${A}u + ${A - 1}u) * p.size;
    for (var j = unit_from; j < p.size; j += unit_step) {
      let unit = b * p.size + j;
      ${at('acts', 'before + j')} = h0[p.h0_offset + b * p.h0_row + j * p.h0_col];
      ${half.edge ?? ''}
    }
  }
  storageBarrier();
}
for (var s = p.start; s < p.stop; s++) {
  let shift = s * p.row_t;
  for (var j = unit_from; j < p.size; j += unit_step) {
    ${each(R, (r) => `var sum${r} = ${V}(); let h${r} = ((at${r} + shift) * ${A}u + ${A - 1}u) * p.size;`)}
    ${forwardProduct(G, team)}
    var sums = array<${V}, ${R}>(${each(R, (r) => `sum${r}`, ', ')});
    for (var r = 0u; r < count; r++) {
      let sum = sums[r];
      let row = p.first + (first_row + r) * p.row_b + shift;
      let unit = (first_row + r) * p.size + j;
      let out_at = row * p.size + j;
      let x = p.xp_offset + row * ${G}u * p.size + j;
      let act = row * ${A}u * p.size + j;
      ${half.step(at)}
      out[out_at] = h;
      let later = ((row + p.row_t) * ${A}u + ${A - 1}u) * p.size + j;
      if (s + 1u < p.length) { ${at('acts', 'later')} = h; }
    }
  }
  storageBarrier();
}`;
}

/** Adds Wᵀ·d to sum0, …, for the units from j0 on, d being the gradients of gates at d0, …. */
function backwardProduct(gradient: string, { rows, width, vectors }: Team): string {
  if (!vectors) {
    return `${each(width, (u) => `var w${u} = p.weight_offset + min(j0 + ${u}u, p.size - 1u);`)}
    for (var k = 0u; k < depth; k++) {
      let v = ${vector(width)}(${each(width, (u) => `weight[w${u}]`, ', ')});
      ${each(rows, (r) => `sum${r} += ${gradient}[d${r} + k] * v;`)}
      ${each(width, (u) => `w${u} += p.size;`)}
    }`;
  }
  return `var w = (p.weight_offset + j0) / 4u;
    let next = p.size / 4u;
    for (var k = 0u; k < depth / 4u; k++) {
      ${each(4, (i) => `let w${i} = weight[w + ${i}u * next];`)}
      ${each(rows, (r) => `{ let d = ${gradient}[d${r} / 4u + k]; sum${r} += ${LANES.map((l, i) => `d.${l} * w${i}`).join(' + ')}; }`)}
      w += 4u * next;
    }`;
}

/**
 * Walks from `stop` down to `start`, where `left` steps are left: the gradients of gates of the step before become the
 * gradient of h, which a step takes on, and which at the end is that of h0.
 */
export function backwardBody({ gates: G, acts: A }: ScanCell, half: ScanHalf, team: Team): string {
  const { rows: R, width } = team;
  const V = vector(width);
  const kept = `let act = p.acts_offset + row * ${A}u * p.size + j;
        let act_before = act - p.row_t * ${A}u * p.size;`;
  return `for (var down = i32(p.stop); down >= i32(p.start); down--) {
  let left = u32(down);
  let shift = left * p.row_t;
  let is_last = left == p.length;
  let is_first = left == 1u;
  for (var j0 = unit_from * ${width}u; j0 < p.size; j0 += unit_step * ${width}u) {
    ${each(R, (r) => `var sum${r} = ${V}();`)}
    if (!is_last) {
      let depth = ${G}u * p.size;
      ${each(R, (r) => `let d${r} = (at${r} + shift) * ${G}u * p.size;`)}
      ${backwardProduct(half.gradient!, team)}
    }
    var sums = array<${V}, ${R}>(${each(R, (r) => `sum${r}`, ', ')});
    for (var r = 0u; r < count; r++) {
      let sum = sums[r];
      let b = first_row + r;
      let row = p.first + b * p.row_b + shift - p.row_t;
      for (var u = 0u; u < min(${width}u, p.size - j0); u++) {
        let j = j0 + u;
        let unit = b * p.size + j;
        var d = ${width > 1 ? 'select(select(sum.x, sum.y, u == 1u), select(sum.z, sum.w, u == 3u), u > 1u)' : 'sum'};
        ${half.carry ? 'if (!is_last) { d += dh[unit]; }' : ''}
        if (left == 0u) {
          dh[unit] = d;
          continue;
        }
        let out_at = row * p.size + j;
        d += gh[p.gh_offset + out_at];
        let x = row * ${G}u * p.size + j;
        ${half.inputs.includes('acts') ? kept : ''}
        ${half.step(elementOf(half, team))}
      }
    }
  }
  storageBarrier();
}`;
}
