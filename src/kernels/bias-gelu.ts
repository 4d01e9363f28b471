/**
 * gelu(x + bias) of rows [rows, n], and its gradients for x and bias in one dispatch: an invocation takes a column (four of
 * them as a vector) of a block of rows, writes its gradients and adds them up. Where there are several blocks, a second
 * dispatch adds up the blocks, in order.
 */
import {
  type Dispatch,
  type HostArray,
  type Kernel,
  type KernelCall,
  type SimdModule,
  type SimdView,
  wgslType,
} from '../device/types.js';
import { numel } from '../tensor/shape.js';
import { load, type ParamSpec, store, workgroups } from './pointwise.js';
import { bindingType, type RowForm, rowCode } from './row.js';
import { normalCdf, normalPdf, sigmoid } from './special.js';
import { declarations, snippet } from './wgsl.js';
import { EXP, NORMAL_CDF, SIGMOID } from './wgsl-math.js';

export interface BiasGeluParams {
  /** The approximation with tanh that GPT-2 uses. */
  readonly tanh: boolean;
}

/** Which gradients are wanted. */
export interface BiasGeluBackwardParams extends BiasGeluParams {
  readonly wants: { readonly x: boolean; readonly bias: boolean };
}

/** 2√(2/π) and the cubic coefficient (Hendrycks and Gimpel 2016, section 2). */
const SLOPE = 2 * Math.sqrt(2 / Math.PI);
const CUBIC = 0.044715;

const EXACT = declarations(
  snippet(
    `fn act(x: f32) -> f32 { return x * normal_cdf(x); }
fn slope(x: f32) -> f32 { return normal_cdf(x) + x * 0.398942280 * exp_f(-0.5 * x * x); }`,
    NORMAL_CDF,
    EXP,
  ),
);
const TANH = declarations(
  snippet(
    `fn act(x: f32) -> f32 { return x * sigmoid_f(1.59576912 * x * (1.0 + 0.044715 * x * x)); }
fn slope(x: f32) -> f32 {
  let z = x * x;
  let s = sigmoid_f(1.59576912 * x * (1.0 + 0.044715 * z));
  let bell = s * (1.0 - s);
  // Where the bell is 0, the polynomial beside it may be infinite.
  return s + select(0.0, bell * x * 1.59576912 * (1.0 + 0.134145 * z), bell != 0.0);
}`,
    SIGMOID,
  ),
);

const KINDS = { g: 'row', x: 'row', bias: 'column', y: 'row', dbias: 'column', part: 'column' } as const;

const cache = new Map<string, Kernel>();

/** Rows and columns: bias is along the last dim. */
function space(shape: readonly number[]): { rows: number; n: number } {
  const n = shape[shape.length - 1];
  return { rows: n === 0 ? 0 : numel(shape) / n, n };
}

/** Rows that an invocation takes at least, so that adding up the blocks costs little. */
const LEAST = 16;

/** Inputs [x, bias] to [y], or [g, x, bias] to gradients of x and bias. */
export function biasGeluKernel({
  inputs,
  outputs,
  params,
  target,
  scratch,
}: KernelCall<BiasGeluParams | BiasGeluBackwardParams>): Dispatch[] {
  const backward = 'wants' in params;
  const [x, bias] = inputs.slice(-2);
  const { rows, n } = space(x.shape);
  if (n === 0) return [];
  const lanes = n % 4 === 0 && inputs.every((v) => v.offset % 4 === 0) ? 4 : 1;
  const turns = n / lanes;
  const dbias = backward && params.wants.bias ? outputs[outputs.length - 1] : null;
  // On software adapters as few blocks as keep the cores busy, so that sums need no second dispatch.
  const gpu = target.kind === 'gpu';
  const wanted = Math.ceil((gpu ? 65536 : dbias ? 16 : 1024) / turns);
  const blocks = Math.max(Math.min(wanted, Math.floor(rows / LEAST), 1024), 1);
  const size = gpu || blocks * turns >= 512 ? 64 : 8;
  const sums = dbias && blocks > 1 ? scratch(blocks * n * 4) : null;
  const ins = { ...(backward ? { g: inputs[0] } : {}), x, bias };
  const part = { buffer: sums!, dtype: 'float32' as const, shape: [blocks * n], strides: [1], offset: 0 };
  const outs = {
    ...(!backward || params.wants.x ? { y: outputs[0] } : {}),
    ...(dbias ? (sums ? { part } : { dbias }) : {}),
  };
  const bound = [...Object.entries(ins), ...Object.entries(outs)];
  const key = `biasGelu:${backward}:${params.tanh}:${size}x${lanes}:${bound.map(([name, v]) => `${name}=${wgslType(v.dtype)}`)}`;
  let kernel = cache.get(key);
  if (!kernel) {
    const form: RowForm = { tree: false, size, subgroups: false, lanes, unroll: true };
    const code = rowCode(KINDS, form, Object.entries(ins), Object.entries(outs));
    kernel = {
      key,
      bindings: bound.map(([name, v]) => ({
        name,
        type: bindingType(KINDS[name as keyof typeof KINDS], wgslType(v.dtype), lanes),
        access: name in ins ? 'read' : 'read_write',
      })),
      params: u32(
        'rows',
        'n',
        'inner',
        ...Object.keys(ins).map((name) => `${name}_offset`),
        'blocks',
        'chunk',
      ),
      workgroupSize: size,
      enables: bound.some(([, v]) => v.dtype === 'float16') ? ['f16'] : undefined,
      declarations: params.tanh ? TANH : EXACT,
      body: body(code, backward),
    };
    cache.set(key, kernel);
  }
  const list: Dispatch[] = [
    {
      kernel,
      buffers: bound.map(([, v]) => v.buffer),
      params: [
        rows,
        n,
        1,
        ...Object.values(ins).map((v) => v.offset / lanes),
        blocks,
        Math.ceil(rows / blocks),
      ],
      workgroups: workgroups(blocks * turns, size),
    },
  ];
  if (sums && dbias) list.push(joinDispatch(sums, dbias, n, blocks));
  return list;
}

function body({ read, write, has, type, lanes }: ReturnType<typeof rowCode>, backward: boolean): string {
  const each = (fn: string) =>
    lanes === 1 ? `${fn}(z)` : `vec4f(${['x', 'y', 'z', 'w'].map((c) => `${fn}(z.${c})`).join(', ')})`;
  return `
let turns = p.n / ${lanes}u;
if (index >= p.blocks * turns) { return; }
let i = index % turns;
let block = index / turns;
let end = min((block + 1u) * p.chunk, p.rows);
let shift = ${read('bias')};
var sum = ${type}();
for (var row = block * p.chunk; row < end; row++) {
  let base = row * turns;
  let z = ${read('x')} + shift;
  let value = ${backward ? `${read('g')} * ${each('slope')}` : each('act')};
  sum += value;
  ${has('y') ? write('y', 'value') : ''}
}
${has('part') ? 'part[index] = sum;' : ''}
${has('dbias') ? write('dbias', 'sum') : ''}`;
}

function u32(...names: string[]): ParamSpec[] {
  return names.map((name) => ({ name, type: 'u32' }));
}

function joinDispatch(
  part: Dispatch['buffers'][number],
  dbias: KernelCall['outputs'][number],
  n: number,
  blocks: number,
): Dispatch {
  const type = wgslType(dbias.dtype);
  const key = `biasGelu:join:${type}`;
  let kernel = cache.get(key);
  if (!kernel) {
    kernel = {
      key,
      bindings: [
        { name: 'part', type: 'f32', access: 'read' },
        { name: 'dbias', type, access: 'read_write' },
      ],
      params: u32('n', 'blocks'),
      workgroupSize: 64,
      enables: type === 'f16' ? ['f16'] : undefined,
      body: `if (index >= p.n) { return; }
var sum = 0.0;
for (var b = 0u; b < p.blocks; b++) { sum += ${load('f32', 'part[b * p.n + index]')}; }
dbias[index] = ${store(type, 'sum')};`,
    };
    cache.set(key, kernel);
  }
  return { kernel, buffers: [part, dbias.buffer], params: [n, blocks], workgroups: workgroups(n) };
}

function act(z: number, tanh: boolean): number {
  return tanh ? z * sigmoid(SLOPE * z * (1 + CUBIC * z * z)) : z * normalCdf(z);
}

function slope(z: number, tanh: boolean): number {
  if (!tanh) return normalCdf(z) + z * normalPdf(z);
  const s = sigmoid(SLOPE * z * (1 + CUBIC * z * z));
  const bell = s * (1 - s);
  return bell === 0 ? s : s + bell * z * SLOPE * (1 + 3 * CUBIC * z * z);
}

export function biasGeluHost(
  [x, bias]: readonly HostArray[],
  [y]: readonly HostArray[],
  { tanh }: BiasGeluParams,
): void {
  const { rows, n } = space(x.shape);
  for (let row = 0; row < rows; row++) {
    const at = row * n;
    for (let i = 0; i < n; i++) {
      y.data[at + i] = act(x.data[x.offset + at + i] + bias.data[bias.offset + i], tanh);
    }
  }
}

export function biasGeluBackwardHost(
  [g, x, bias]: readonly HostArray[],
  outputs: readonly HostArray[],
  { tanh, wants }: BiasGeluBackwardParams,
): void {
  const { rows, n } = space(x.shape);
  const dx = wants.x ? outputs[0].data : null;
  const sums = new Float64Array(n);
  for (let row = 0; row < rows; row++) {
    const at = row * n;
    for (let i = 0; i < n; i++) {
      const z = x.data[x.offset + at + i] + bias.data[bias.offset + i];
      const d = g.data[g.offset + at + i] * slope(z, tanh);
      if (dx) dx[at + i] = d;
      sums[i] += d;
    }
  }
  if (wants.bias) outputs[outputs.length - 1].data.set(sums);
}

export function biasGeluSimd(
  module: SimdModule,
  [x, bias]: readonly SimdView[],
  [y]: readonly SimdView[],
  { tanh }: BiasGeluParams,
): boolean {
  const { rows, n } = space(x.shape);
  if (rows === 0) return true;
  module.add(rows, n, x.pointer, n, 1, bias.pointer, 0, 1, y.pointer);
  module[tanh ? 'geluTanh' : 'gelu'](1, rows * n, y.pointer, 0, 1, y.pointer);
  return true;
}

export function biasGeluBackwardSimd(
  module: SimdModule,
  [g, x, bias]: readonly SimdView[],
  outputs: readonly SimdView[],
  { tanh, wants }: BiasGeluBackwardParams,
): boolean {
  const { rows, n } = space(x.shape);
  if (rows === 0) return false;
  const count = rows * n;
  const z = module.scratch(count * 4);
  const dx = wants.x ? outputs[0].pointer : module.scratch(count * 4);
  module.add(rows, n, x.pointer, n, 1, bias.pointer, 0, 1, z);
  module[tanh ? 'geluTanhBackward' : 'geluBackward'](1, count, g.pointer, 0, 1, z, 0, 1, dx);
  if (wants.bias) module.sumRows(n, rows, dx, 1, n, outputs[outputs.length - 1].pointer);
  return true;
}
