/**
 * Rounds a request up to its size class: four classes per power of two, at least 256 bytes. At most a quarter is
 * wasted, and requests that differ by little share buffers.
 */
export function sizeClass(bytes: number): number {
  if (bytes <= 256) return 256;
  const step = 2 ** (Math.ceil(Math.log2(bytes)) - 3);
  return Math.ceil(bytes / step) * step;
}
