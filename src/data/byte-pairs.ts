/** Byte-pair encoding of long runs, in n·log n steps; the package's own takes n². */

/** Ids have 16 bits and positions 32 in the numbers of the queue, which are exact up to 53. */
const POSITIONS = 2 ** 32;

/**
 * Merges the bytes of a piece of text: always the pair of neighbours that makes the token of the smallest id, the leftmost
 * of equals, until no pair makes a token.
 *
 * @param bytes the piece, each byte as the character of its number
 * @param ids ids of tokens by their bytes, each as a character, the smaller ones merged first; all 256 bytes are tokens
 */
export function mergeBytes(bytes: string, ids: ReadonlyMap<string, number>): number[] {
  const n = bytes.length;
  // Token i runs from i to next[i]; where it was merged into an earlier one, next[i] is 0.
  const next = Int32Array.from({ length: n }, (_, i) => i + 1);
  const before = Int32Array.from({ length: n + 1 }, (_, i) => i - 1);
  const pairAt = (i: number): number | undefined => {
    if (i < 0 || next[i] >= n) return undefined;
    return ids.get(bytes.slice(i, next[next[i]]));
  };
  const queue = new Queue();
  const offer = (i: number): void => {
    const id = pairAt(i);
    if (id !== undefined) queue.push(id * POSITIONS + i);
  };
  for (let i = 0; i < n; i++) offer(i);
  for (let key = queue.pop(); key !== undefined; key = queue.pop()) {
    const i = key % POSITIONS;
    // What was waiting may have changed meanwhile.
    if (next[i] === 0 || pairAt(i) !== Math.floor(key / POSITIONS)) continue;
    const right = next[i];
    next[i] = next[right];
    before[next[i]] = i;
    next[right] = 0;
    offer(i);
    offer(before[i]);
  }
  const tokens: number[] = [];
  for (let i = 0; i < n; i = next[i]) tokens.push(ids.get(bytes.slice(i, next[i]))!);
  return tokens;
}

/** Numbers, the smallest first: a binary heap. */
class Queue {
  private readonly heap: number[] = [];

  push(value: number): void {
    const { heap } = this;
    let at = heap.length;
    for (let up = (at - 1) >> 1; at > 0 && heap[up] > value; up = (at - 1) >> 1) {
      heap[at] = heap[up];
      at = up;
    }
    heap[at] = value;
  }

  pop(): number | undefined {
    const { heap } = this;
    const [first] = heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return first;
    let at = 0;
    for (;;) {
      let down = 2 * at + 1;
      if (down >= heap.length) break;
      if (down + 1 < heap.length && heap[down + 1] < heap[down]) down++;
      if (heap[down] >= last) break;
      heap[at] = heap[down];
      at = down;
    }
    heap[at] = last;
    return first;
  }
}
