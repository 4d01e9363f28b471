/**
 * WGSL functions that kernels share.
 *
 * WGSL compilers may assume that no value is NaN or infinite, so tests for them look at the bits, and special values come
 * out of bit patterns that are no constant expressions (a constant expression that is infinite does not compile).
 */

/** A function at module scope, with those it calls. */
export interface Snippet {
  readonly text: string;
  readonly uses: readonly Snippet[];
}

/** A WGSL function and the functions that it calls. */
export function snippet(text: string, ...uses: Snippet[]): Snippet {
  return { text, uses };
}

/** The text of the given functions and of all that they call, each once: for `Kernel.declarations`. */
export function declarations(...snippets: readonly Snippet[]): string {
  const all = new Set<Snippet>();
  const add = (s: Snippet): void => {
    if (all.has(s)) return;
    s.uses.forEach(add);
    all.add(s);
  };
  snippets.forEach(add);
  return [...all].map((s) => s.text).join('\n');
}

/** `is_nan(x)` */
export const IS_NAN = snippet(
  'fn is_nan(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u; }',
);

/** `is_inf(x)`: of either sign. */
export const IS_INF = snippet(
  'fn is_inf(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) == 0x7f800000u; }',
);

/** `is_finite(x)` */
export const IS_FINITE = snippet(
  'fn is_finite(x: f32) -> bool { return (bitcast<u32>(x) & 0x7f800000u) != 0x7f800000u; }',
);

/** `inf()`: +∞. */
export const INF = snippet('fn inf() -> f32 { var bits = 0x7f800000u; return bitcast<f32>(bits); }');

/** `nan()` */
export const NAN = snippet('fn nan() -> f32 { var bits = 0x7fc00000u; return bitcast<f32>(bits); }');

/**
 * `order_of(x)`: an integer that orders as x does, with −0 equal to 0 and subnormals told apart; NaN has no place in the
 * order and must be excluded before.
 */
export const ORDER_OF = snippet(`fn order_of(x: f32) -> i32 {
  let bits = bitcast<i32>(x);
  return select(bits, i32(0x80000000u) - bits, bits < 0);
}`);

/**
 * Floats as unsigned integers of the same order, for maxima: comparing them is safe from what compilers assume of NaN and
 * infinity. `order_key` puts NaN above everything; `low_key` is the reverse order, with NaN above everything again; −0 and
 * 0 are equal. `from_order_key` and `from_low_key` undo them. No key of a number is 0xffffffff, none of a float is 0.
 */
export const ORDER_KEYS = snippet(
  `fn order_key(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  let size = bits & 0x7fffffffu;
  if (size > 0x7f800000u) { return 0xffffffffu; }
  return select(0x80000000u + size, 0x80000000u - size, bits >= 0x80000000u);
}
fn low_key(x: f32) -> u32 {
  let key = order_key(x);
  return select(~key, key, key == 0xffffffffu);
}
fn from_order_key(key: u32) -> f32 {
  if (key == 0xffffffffu) { return nan(); }
  return bitcast<f32>(select(0x80000000u | (0x80000000u - key), key - 0x80000000u, key >= 0x80000000u));
}
fn from_low_key(key: u32) -> f32 { return from_order_key(select(~key, key, key == 0xffffffffu)); }`,
  NAN,
);

/** `root_f(x)`: √x for x ≥ 0, with NaN and infinity left alone; WGSL may make sqrt of inverseSqrt. */
export const ROOT = snippet(`fn root_f(x: f32) -> f32 {
  if ((bitcast<u32>(x) & 0x7fffffffu) >= 0x7f800000u || x == 0.0) { return x; }
  return sqrt(x);
}`);
