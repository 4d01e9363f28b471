/**
 * The kernels of gather-rows.ts. Rows whose length is a multiple of 4 go in vectors, several per invocation on software
 * adapters, for whom an invocation costs more than a load.
 */
import {
  type Dispatch,
  type Kernel,
  type KernelCall,
  type KernelTarget,
  type WgslType,
  wgslType,
} from '../device/types.js';
import { numel } from '../tensor/shape.js';
import { scalarType } from './fill.js';
import { type AddParams, product, type SelectParams } from './gather-rows.js';
import { load, type ParamSpec, store, WORKGROUP, workgroups } from './pointwise.js';

/** No valid index: −1 as a word, and beyond every row. */
const NONE = 0xffffffff;

const cache = new Map<string, Kernel>();

function cached(key: string, make: () => Omit<Kernel, 'key' | 'workgroupSize'> & Partial<Kernel>): Kernel {
  let kernel = cache.get(key);
  if (!kernel) cache.set(key, (kernel = { key, workgroupSize: WORKGROUP, ...make() }));
  return kernel;
}

const u32 = (name: string): ParamSpec => ({ name, type: 'u32' });

type Lanes = 1 | 4;

/** A binding of single elements or of vectors. */
function binding(name: string, type: WgslType, lanes: Lanes, access: 'read' | 'read_write') {
  const bound = (lanes === 4 ? `vec4<${type}>` : type) as 'vec4<f32>' | WgslType;
  return { name, type: bound, access };
}

/** Vectors where rows are made of them. */
function lanesOf(inner: number, offset: number): Lanes {
  return inner % 4 === 0 && offset % 4 === 0 ? 4 : 1;
}

/** How many neighbouring elements (vectors) an invocation takes: few on GPUs, which live on many invocations. */
function stripOf(width: number, { kind }: KernelTarget): number {
  if (kind === 'gpu') return 1;
  return width % 4 === 0 ? 4 : width % 2 === 0 ? 2 : 1;
}

/** Indices out of range read the last row. One kernel serves strips of any length. */
function selectKernel(type: WgslType, lanes: Lanes): Kernel {
  return cached(`select-rows:${type}x${lanes}`, () => ({
    bindings: [
      binding('picks', 'u32', 1, 'read'),
      binding('x', type, lanes, 'read'),
      binding('y', type, lanes, 'read_write'),
    ],
    params: ['n', 'strip', 'rows', 'width', 'count', 'picks_offset', 'x_offset', 'skip'].map(u32),
    enables: type === 'f16' ? ['f16'] : undefined,
    body: `if (index >= p.n) { return; }
let start = index * p.strip;
let c = start % p.width;
let row = start / p.width;
let pick = picks[p.picks_offset + row % p.count];
let empty = pick == p.skip && pick < p.rows;
let at = p.x_offset + ((row / p.count) * p.rows + min(pick, p.rows - 1u)) * p.width + c;
let zero = ${lanes === 4 ? `vec4<${type}>()` : `${type}(0)`};
for (var i = 0u; i < p.strip; i++) { y[start + i] = select(x[at + i], zero, empty); }`,
  }));
}

function repeat(count: number, line: (i: number) => string): string {
  return Array.from({ length: count }, (_, i) => line(i)).join(' ');
}

export function selectRowsKernel({
  inputs: [x, index],
  outputs: [y],
  params,
  target,
}: KernelCall<SelectParams>): Dispatch[] {
  const inner = product(x.shape, params.dim + 1, x.shape.length);
  const lanes = lanesOf(inner, x.offset);
  const width = inner / lanes;
  const strip = stripOf(width, target);
  const n = numel(y.shape) / lanes / strip;
  return [
    {
      // A copy looks at no bits, so one kernel serves all types of four bytes.
      kernel: selectKernel(y.dtype === 'float16' ? 'f16' : 'u32', lanes),
      buffers: [index.buffer, x.buffer, y.buffer],
      params: [
        n,
        strip,
        x.shape[params.dim],
        width,
        numel(index.shape),
        index.offset,
        x.offset / lanes,
        params.masked && params.padding >= 0 ? params.padding : NONE,
      ],
      workgroups: workgroups(n),
    },
  ];
}

/** Four indices at a time: the first position from `start` on whose index is `id`, NONE where there is none. */
const FIND = `fn find(id: u32, start: u32) -> u32 {
  let first = p.picks_offset + start;
  let end = p.picks_offset + p.count;
  for (var at = first / 4u; at * 4u < end; at++) {
    let places = vec4u(at * 4u) + vec4u(0u, 1u, 2u, 3u);
    let found = (picks[at] == vec4u(id)) & (places >= vec4u(first)) & (places < vec4u(end));
    if (any(found)) {
      return select(select(select(places.w, places.z, found.z), places.y, found.y), places.x, found.x) - p.picks_offset;
    }
  }
  return ${NONE}u;
}`;

/**
 * links[k]: the next position with the index of position k; links[count + v]: the first position with index v. NONE where
 * there is none. Each invocation looks through the index from where it stands: at most count · (count / 2 + size) / 4
 * comparisons of vectors, few where indices repeat.
 */
const linkEach = (): Kernel =>
  cached('add-rows:link-each', () => ({
    bindings: [binding('picks', 'u32', 4, 'read'), binding('links', 'u32', 1, 'read_write')],
    params: ['count', 'picks_offset', 'size'].map(u32),
    declarations: FIND,
    body: `if (index >= p.count + p.size) { return; }
if (index >= p.count) { links[index] = find(index - p.count, 0u); return; }
let place = p.picks_offset + index;
links[index] = find(picks[place / 4u][place % 4u], index + 1u);`,
  }));

/**
 * For large tables: links[k] as before; links[count + k] is 1 where position k is not the first with its index. The other
 * workgroups write zeros to y, ZEROS elements (vectors) each invocation.
 */
const ZEROS = 16;
const linkSome = (type: WgslType, lanes: Lanes, inOrder: boolean): Kernel =>
  cached(`add-rows:link-some:${type}x${lanes}:${inOrder}`, () => ({
    bindings: [
      binding('picks', 'u32', inOrder ? 1 : 4, 'read'),
      binding('links', 'u32', 1, 'read_write'),
      binding('y', type, lanes, 'read_write'),
    ],
    params: ['count', 'picks_offset', 'size', 'link_groups', 'n'].map(u32),
    enables: type === 'f16' ? ['f16'] : undefined,
    declarations: inOrder ? undefined : FIND,
    body: `if (group >= p.link_groups) {
  let first = (group - p.link_groups) * ${WORKGROUP * ZEROS}u + local * ${ZEROS}u;
  for (var i = first; i < min(first + ${ZEROS}u, p.n); i++) { y[i] = ${lanes === 4 ? `vec4<${type}>()` : `${type}(0)`}; }
  return;
}
${inOrder ? LINK_SOME_IN_ORDER : LINK_SOME}`,
  }));

const LINK_SOME = `if (index >= p.count) { return; }
let place = p.picks_offset + index;
let id = picks[place / 4u][place % 4u];
links[index] = find(id, index + 1u);
links[p.count + index] = select(0u, 1u, find(id, 0u) < index);`;

/** Invocations of a workgroup of `sumInPlace`: the widest vectors of the CPUs at hand. */
const COLUMNS = 8;

/**
 * On software adapters an invocation is as fast alone as among others: each adds up a column (of vectors) of y in memory, in the
 * order of the index.
 */
const sumInPlace = (type: WgslType, lanes: Lanes): Kernel =>
  cached(`add-rows:in-place:${type}x${lanes}`, () => ({
    workgroupSize: COLUMNS,
    bindings: [
      binding('picks', 'u32', 1, 'read'),
      binding('x', type, lanes, 'read'),
      binding('y', type, lanes, 'read_write'),
    ],
    params: CHAIN_PARAMS.map(u32),
    body: `if (index >= p.n) { return; }
let o = index / p.width;
let to = o * p.size * p.width + index % p.width;
var next = p.x_offset + o * p.count * p.width + index % p.width;
for (var v = 0u; v < p.size; v++) { y[to + v * p.width] = ${lanes === 4 ? `vec4<${type}>()` : `${type}(0)`}; }
for (var k = 0u; k < p.count; k++) {
  let v = picks[p.picks_offset + k];
  if (v < p.size && v != p.skip) { y[to + v * p.width] += x[next]; }
  next += p.width;
}`,
  }));

/**
 * `LINK_SOME` by one invocation that goes through the index once, without clearing anything: a sparse set (Briggs and Torczon 1993). Behind the links and flags lie a
 * slot per row of the table, of whatever value, and per slot its row and last position; a slot counts if it is in use and
 * names the row.
 */
const LINK_SOME_IN_ORDER = `if (index > 0u) { return; }
let slots = 2u * p.count;
let owners = slots + p.size;
let lasts = owners + p.count;
var used = 0u;
for (var k = 0u; k < p.count; k++) {
  let v = picks[p.picks_offset + k];
  links[k] = ${NONE}u;
  links[p.count + k] = 1u;
  if (v >= p.size) { continue; }
  var s = links[slots + v];
  if (s < used && links[owners + min(s, used)] == v) {
    links[links[lasts + s]] = k;
  } else {
    s = used;
    used++;
    links[slots + v] = s;
    links[owners + s] = v;
    links[p.count + k] = 0u;
  }
  links[lasts + s] = k;
}`;

/** The sums of the rows along a chain, in order. */
function chain(type: WgslType, lanes: Lanes, strip: number): string {
  const sum = lanes === 4 ? `vec4<${scalarType(type)}>` : scalarType(type);
  const element = (i: number) => {
    const place = `x[base + k * p.width + ${i}u]`;
    return lanes === 4 && type === 'f16' ? `vec4f(${place})` : load(type, place);
  };
  const result = (i: number) => (lanes === 4 && type === 'f16' ? `vec4<f16>(s${i})` : store(type, `s${i}`));
  return `
let base = p.x_offset + o * p.count * p.width + c;
${repeat(strip, (i) => `var s${i} = ${sum}();`)}
while (k < p.count) {
  ${repeat(strip, (i) => `s${i} += ${element(i)};`)}
  k = links[k];
}
let to = (o * p.size + pick) * p.width + c;
${repeat(strip, (i) => `y[to + ${i}u] = ${result(i)};`)}`;
}

const CHAIN_PARAMS = ['n', 'size', 'width', 'count', 'picks_offset', 'x_offset', 'skip'];

/** An invocation per row of y and strip of columns writes the sum of its chain, zeros where there is none. */
const sumEach = (type: WgslType, lanes: Lanes, strip: number): Kernel =>
  cached(`add-rows:each:${type}x${lanes}:${strip}`, () => ({
    bindings: [
      binding('links', 'u32', 1, 'read'),
      binding('x', type, lanes, 'read'),
      binding('y', type, lanes, 'read_write'),
    ],
    params: CHAIN_PARAMS.map(u32),
    enables: type === 'f16' ? ['f16'] : undefined,
    body: `if (index >= p.n) { return; }
let start = index * ${strip}u;
let c = start % p.width;
let row = start / p.width;
let pick = row % p.size;
let o = row / p.size;
var k = links[p.count + pick];
if (pick == p.skip) { k = ${NONE}u; }
${chain(type, lanes, strip)}`,
  }));

/** An invocation per position and strip of columns; those of an index's first position walk its chain. */
const sumSome = (type: WgslType, lanes: Lanes, strip: number): Kernel =>
  cached(`add-rows:some:${type}x${lanes}:${strip}`, () => ({
    bindings: [
      binding('picks', 'u32', 1, 'read'),
      binding('links', 'u32', 1, 'read'),
      binding('x', type, lanes, 'read'),
      binding('y', type, lanes, 'read_write'),
    ],
    params: CHAIN_PARAMS.map(u32),
    enables: type === 'f16' ? ['f16'] : undefined,
    body: `if (index >= p.n) { return; }
let start = index * ${strip}u;
let c = start % p.width;
let row = start / p.width;
var k = row % p.count;
let o = row / p.count;
let pick = picks[p.picks_offset + k];
if (links[p.count + k] != 0u || pick >= p.size || pick == p.skip) { return; }
${chain(type, lanes, strip)}`,
  }));

/**
 * Deterministic sums of rows in two dispatches, without atomics: positions with the same index are linked in order, then the
 * chains are added up, one addition per element of x and one write per element of y. Tables with many more rows than there
 * are positions are zeroed first (beside the linking), and only the rows that occur are walked.
 */
export function addRowsKernel({
  inputs: [x, index],
  outputs: [y],
  params,
  target,
  scratch,
}: KernelCall<AddParams>): Dispatch[] {
  const elements = numel(y.shape);
  if (elements === 0) return [];
  const count = numel(index.shape);
  const inner = product(y.shape, params.dim + 1, y.shape.length);
  const outer = product(y.shape, 0, params.dim);
  const { size } = params;
  const type = wgslType(y.dtype);
  const lanes = lanesOf(inner, x.offset);
  const width = inner / lanes;
  const strip = stripOf(width, target);
  const every = size <= 2 * count + 64;
  const inOrder = target.kind === 'software';
  const skip = params.padding >= 0 ? params.padding : NONE;
  // In memory, sums of float16 would be rounded at each step.
  if (inOrder && every && type !== 'f16') {
    const columns = outer * (inner / lanes);
    return [
      {
        kernel: sumInPlace(type, lanes),
        buffers: [index.buffer, x.buffer, y.buffer],
        params: [columns, size, width, count, index.offset, x.offset / lanes, skip],
        workgroups: workgroups(columns, COLUMNS),
      },
    ];
  }
  const links = scratch((inOrder ? 4 * count + 2 * size : 2 * count + size) * 4);
  const n = (outer * (every ? size : count) * width) / strip;
  const rest = [n, size, width, count, index.offset, x.offset / lanes, skip];
  if (every) {
    return [
      {
        kernel: linkEach(),
        buffers: [index.buffer, links],
        params: [count, index.offset, size],
        workgroups: workgroups(count + size),
      },
      {
        kernel: sumEach(type, lanes, strip),
        buffers: [links, x.buffer, y.buffer],
        params: rest,
        workgroups: workgroups(n),
      },
    ];
  }
  const linkGroups = inOrder ? 1 : workgroups(count);
  const list: Dispatch[] = [
    {
      kernel: linkSome(type, lanes, inOrder),
      buffers: [index.buffer, links, y.buffer],
      params: [count, index.offset, size, linkGroups, elements / lanes],
      workgroups: linkGroups + Math.ceil(elements / lanes / (WORKGROUP * ZEROS)),
    },
  ];
  if (n > 0) {
    list.push({
      kernel: sumSome(type, lanes, strip),
      buffers: [index.buffer, links, x.buffer, y.buffer],
      params: rest,
      workgroups: workgroups(n),
    });
  }
  return list;
}
