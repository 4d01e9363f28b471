/**
 * float16 on adapters without `shader-f16`: tensors stay packed, two per 32-bit word, and are widened to float32
 * temporaries around each program. All arithmetic is on bits: WGSL compilers may assume that floats are neither NaN nor
 * infinite, and pack2x16float is undefined beyond float16's range.
 */
import type { DeviceBuffer, Dispatch, Kernel, View } from '../types.js';

const WORKGROUP = 64;

/** IEEE 754 binary16 in the low half of a word, as the bits of the same number in binary32. Exact. */
const WIDEN_BITS = `
fn widen_bits(half: u32) -> u32 {
  let sign = (half & 0x8000u) << 16u;
  let exponent = (half >> 10u) & 31u;
  let mantissa = half & 0x3ffu;
  if (exponent == 31u) { return sign | 0x7f800000u | (mantissa << 13u); }
  if (exponent != 0u) { return sign | ((exponent + 112u) << 23u) | (mantissa << 13u); }
  if (mantissa == 0u) { return sign; }
  // Subnormal: mantissa · 2^-24, normalised to its leading bit.
  let lead = firstLeadingBit(mantissa);
  return sign | ((lead + 103u) << 23u) | ((mantissa << (23u - lead)) & 0x7fffffu);
}`;

/** The bits of a binary32 number as binary16, rounded to nearest, ties to even; beyond the range infinity. */
const NARROW_BITS = `
fn narrow_bits(bits: u32) -> u32 {
  let sign = (bits >> 16u) & 0x8000u;
  let x = bits & 0x7fffffffu;
  if (x > 0x7f800000u) { return sign | 0x7e00u; }
  // 65520 is half-way between the largest finite number, 65504, and 2^16.
  if (x >= 0x477ff000u) { return sign | 0x7c00u; }
  // From 2^-14 on: rebias the exponent by 112 and round the 13 bits that go; a carry runs into the exponent as it should.
  if (x >= 0x38800000u) { return sign | ((x + 0xfffu + ((x >> 13u) & 1u) - 0x38000000u) >> 13u); }
  if (x < 0x33000000u) { return sign; }
  // Subnormal: in units of 2^-24.
  let mantissa = (x & 0x7fffffu) | 0x800000u;
  let shift = 126u - (x >> 23u);
  let kept = mantissa >> shift;
  let rest = mantissa & ((1u << shift) - 1u);
  let tie = 1u << (shift - 1u);
  return sign | (kept + select(0u, 1u, rest > tie || (rest == tie && (kept & 1u) == 1u)));
}`;

/** Elements of a shape. */
export function elements(shape: readonly number[]): number {
  let n = 1;
  for (const size of shape) n *= size;
  return n;
}

/** A contiguous float32 view of a whole buffer with the shape of another. */
export function contiguousView(buffer: DeviceBuffer, shape: readonly number[]): View {
  const strides = new Array<number>(shape.length);
  let step = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = step;
    step *= shape[i];
  }
  return { buffer, dtype: 'float32', shape, strides, offset: 0 };
}

/** Copies a packed float16 view into `to`, contiguous float32. */
export function widen(view: View, to: DeviceBuffer): Dispatch {
  const { sizes, strides } = collapse(view);
  const n = elements(view.shape);
  return {
    kernel: widenKernel(sizes.length),
    buffers: [view.buffer, to],
    params: [n, view.offset, ...strides, ...sizes.slice(1)],
    workgroups: Math.ceil(n / WORKGROUP),
  };
}

/** Rounds contiguous float32 into a packed float16 view. Only the view's own halves of words change. */
export function narrow(from: DeviceBuffer, view: View): Dispatch {
  const { sizes, strides } = collapse(view);
  const n = elements(view.shape);
  const contiguous = sizes.length <= 1 && (strides[0] ?? 1) === 1;
  // The last half of an odd count is free where the buffer ends with it.
  const whole = n % 2 === 0 || (view.offset + n + 1) * 2 >= view.buffer.bytes;
  if (contiguous && view.offset % 2 === 0 && whole) {
    const words = Math.ceil(n / 2);
    return {
      kernel: NARROW_WORDS,
      buffers: [from, view.buffer],
      params: [words, view.offset / 2],
      workgroups: Math.ceil(words / WORKGROUP),
    };
  }
  return {
    kernel: narrowKernel(sizes.length),
    buffers: [from, view.buffer],
    params: [n, view.offset, ...strides, ...sizes.slice(1)],
    workgroups: Math.ceil(n / WORKGROUP),
  };
}

/** Shape and strides without dims of one element, and with neighbours merged that are contiguous to each other. */
function collapse({ shape, strides }: View): { sizes: number[]; strides: number[] } {
  const sizes: number[] = [];
  const steps: number[] = [];
  for (let i = 0; i < shape.length; i++) {
    if (shape[i] === 1) continue;
    const last = sizes.length - 1;
    if (last >= 0 && steps[last] === strides[i] * shape[i]) {
      sizes[last] *= shape[i];
      steps[last] = strides[i];
    } else {
      sizes.push(shape[i]);
      steps.push(strides[i]);
    }
  }
  return { sizes, strides: steps };
}

/** Statements that compute `at`, the element that `index` means in a strided view of a rank. */
function address(rank: number): string {
  const lines = ['var at = p.offset;', 'var rest = index;'];
  for (let i = rank - 1; i > 0; i--)
    lines.push(`at += (rest % p.size_${i}) * p.stride_${i};`, `rest /= p.size_${i};`);
  if (rank > 0) lines.push('at += rest * p.stride_0;');
  return lines.join('\n');
}

function viewParams(rank: number): Kernel['params'] {
  const names = ['n', 'offset'];
  for (let i = 0; i < rank; i++) names.push(`stride_${i}`);
  for (let i = 1; i < rank; i++) names.push(`size_${i}`);
  return names.map((name) => ({ name, type: 'u32' }));
}

const kernels = new Map<string, Kernel>();

function memo(key: string, make: () => Omit<Kernel, 'key' | 'workgroupSize'>): Kernel {
  let kernel = kernels.get(key);
  if (!kernel) kernels.set(key, (kernel = { key, workgroupSize: WORKGROUP, ...make() }));
  return kernel;
}

/** Reads 2 and writes 4 bytes per element. */
function widenKernel(rank: number): Kernel {
  return memo(`half/widen/${rank}`, () => ({
    bindings: [
      { name: 'halves', type: 'u32', access: 'read' },
      { name: 'wide', type: 'u32', access: 'read_write' },
    ],
    params: viewParams(rank),
    declarations: WIDEN_BITS,
    body: `if (index >= p.n) { return; }
${address(rank)}
wide[index] = widen_bits((halves[at >> 1u] >> ((at & 1u) * 16u)) & 0xffffu);`,
  }));
}

/** Any strides: two invocations may share a word, so each replaces its half atomically. */
function narrowKernel(rank: number): Kernel {
  return memo(`half/narrow/${rank}`, () => ({
    bindings: [
      { name: 'wide', type: 'u32', access: 'read' },
      { name: 'halves', type: 'atomic<u32>', access: 'read_write' },
    ],
    params: viewParams(rank),
    declarations: NARROW_BITS,
    body: `if (index >= p.n) { return; }
${address(rank)}
let shift = (at & 1u) * 16u;
atomicAnd(&halves[at >> 1u], ~(0xffffu << shift));
atomicOr(&halves[at >> 1u], narrow_bits(wide[index]) << shift);`,
  }));
}

/** Contiguous and aligned: one invocation writes a whole word. */
const NARROW_WORDS = memo('half/narrow-words', () => ({
  bindings: [
    { name: 'wide', type: 'u32', access: 'read' },
    { name: 'halves', type: 'u32', access: 'read_write' },
  ],
  params: [
    { name: 'words', type: 'u32' },
    { name: 'offset', type: 'u32' },
  ],
  declarations: NARROW_BITS,
  body: `if (index >= p.words) { return; }
halves[p.offset + index] = narrow_bits(wide[2u * index]) | (narrow_bits(wide[2u * index + 1u]) << 16u);`,
}));
