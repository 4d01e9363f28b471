/**
 * Access pattern: the k foremost elements of every line of [outer, n, inner] (contiguous), as positions in order.
 *
 * Elements are ordered by an integer key, ties by position. For small k, one search of the line per place, for the best
 * element behind the last one: n·k comparisons, one invocation or one workgroup per line. For large k every element counts
 * those before it: n² comparisons, one invocation per element.
 */
import { type Dispatch, type Kernel, type KernelCall, type WgslType, wgslType } from '../device/types.js';
import { unrolled } from './loop.js';
import { load, workgroups } from './pointwise.js';
import { lineSpace } from './scan.js';
import { declarations, ORDER_KEYS } from './wgsl.js';

export interface TopkParams {
  readonly dim: number;
  readonly k: number;
  readonly largest: boolean;
}

const TREE = 128;
const kernels = new Map<string, Kernel>();

const u32 = (name: string) => ({ name, type: 'u32' }) as const;

/** `key_at(base, i)`: greatest first. NaN counts as larger than everything, also where the smallest are wanted. */
function keys(type: WgslType, largest: boolean): string {
  const v = load(type, 'x[p.offset + base + i * p.inner]');
  const key = type === 'i32' ? `bitcast<u32>(${v}) ^ 0x80000000u` : type === 'u32' ? v : `order_key(${v})`;
  return `${declarations(ORDER_KEYS)}
fn key_at(base: u32, i: u32) -> u32 { return ${largest ? '' : '~'}(${key}); }
fn better(a: vec2u, b: vec2u) -> vec2u { return select(a, b, b.x > a.x || (b.x == a.x && b.y < a.y)); }`;
}

/** Keys of the element and of place `place`; position 0xffffffff stands for none. */
const NONE = 'vec2u(0u, 0xffffffffu)';

function searchBody(tree: boolean): string {
  const step = `let key = key_at(base, i);
    if (place == 0u || key < last.x || (key == last.x && i > last.y)) { best = better(best, vec2u(key, i)); }`;
  const search = `
  var best = ${NONE};
  ${unrolled('i', tree ? 'local' : '0u', 'p.n', tree ? TREE : 1, step)}`;
  const merge = `
  shared_best[local] = best;
  for (var half = ${TREE / 2}u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (local < half) { best = better(best, shared_best[local + half]); shared_best[local] = best; }
  }
  workgroupBarrier();
  best = shared_best[0];
  workgroupBarrier();`;
  return `
let line = ${tree ? 'group' : 'index'};
if (line >= p.lines) { return; }
let base = line / p.inner * p.n * p.inner + line % p.inner;
let to = line / p.inner * p.k * p.inner + line % p.inner;
var last = ${NONE};
for (var place = 0u; place < p.k; place++) {${search}${tree ? merge : ''}
  ${tree ? 'if (local == 0u) { y[to + place * p.inner] = i32(best.y); }' : 'y[to + place * p.inner] = i32(best.y);'}
  last = best;
}`;
}

/** One invocation per element of x: its place is how many elements come before it. */
const RANK_BODY = `
if (index >= p.lines * p.n) { return; }
let line = index / p.n;
let me = index % p.n;
let base = line / p.inner * p.n * p.inner + line % p.inner;
let key = key_at(base, me);
var place = 0u;
${unrolled(
  'i',
  '0u',
  'p.n',
  1,
  `let other = key_at(base, i);
  if (other > key || (other == key && i < me)) { place++; }`,
)}
if (place < p.k) { y[(line / p.inner * p.k + place) * p.inner + line % p.inner] = i32(me); }`;

export function topkKernel({
  inputs: [x],
  outputs: [y],
  params,
  target,
}: KernelCall<TopkParams>): Dispatch[] {
  const { outer, n, inner } = lineSpace(x.shape, params.dim);
  const { k, largest } = params;
  const lines = outer * inner;
  const type = wgslType(x.dtype);
  // Counting costs n / k times the comparisons and spreads them over n times the invocations.
  const rank = target.kind === 'gpu' ? 16 * k >= n && n > 64 : 2 * k >= n;
  const tree = !rank && target.kind === 'gpu' && n > 64;
  const form = rank ? 'rank' : tree ? 'tree' : 'line';
  const key = `topk:${form}:${type}:${largest}`;
  let kernel = kernels.get(key);
  if (!kernel) {
    kernel = {
      key,
      bindings: [
        { name: 'x', type, access: 'read' },
        { name: 'y', type: 'i32', access: 'read_write' },
      ],
      params: ['lines', 'n', 'inner', 'k', 'offset'].map(u32),
      workgroupSize: tree ? TREE : 64,
      enables: type === 'f16' ? ['f16'] : undefined,
      declarations:
        keys(type, largest) + (tree ? `\nvar<workgroup> shared_best: array<vec2u, ${TREE}>;` : ''),
      body: rank ? RANK_BODY : searchBody(tree),
    };
    kernels.set(key, kernel);
  }
  const groups = rank ? workgroups(lines * n) : tree ? lines : workgroups(lines);
  return [
    {
      kernel,
      buffers: [x.buffer, y.buffer],
      params: [lines, n, inner, k, x.offset],
      workgroups: k === 0 ? 0 : groups,
    },
  ];
}
