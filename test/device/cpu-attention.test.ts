import { describe, expect, test } from 'vitest';
import { call, random } from './simd-call.js';

interface Case {
  readonly queries: number;
  readonly keys: number;
  readonly dim: number;
  readonly vDim: number;
  /** Where query 0 stands among the keys, and how far queries see. */
  readonly first: number;
  readonly left: number;
  readonly right: number;
  /** Keys that may be seen. */
  readonly mask?: readonly number[];
}

const FAR = 2 ** 30 - 1;
const causal = { first: 0, left: FAR, right: 0 };

/** Attention and its gradients of one head, in float64 and as the formula has it. */
function reference(
  { queries, keys, dim, vDim, first, left, right, mask }: Case,
  [q, k, v, g]: readonly Float32Array[],
  scale: number,
) {
  const o = new Float64Array(queries * vDim);
  const lse = new Float64Array(queries);
  const dq = new Float64Array(queries * dim);
  const dk = new Float64Array(keys * dim);
  const dv = new Float64Array(keys * vDim);
  for (let i = 0; i < queries; i++) {
    const seen = Array.from({ length: keys }, (_, j) => j).filter(
      (j) => j <= first + i + right && j >= first + i - left && (mask?.[j] ?? 1),
    );
    if (seen.length === 0) {
      o.fill(Number.NaN, i * vDim, (i + 1) * vDim);
      continue;
    }
    const scores = seen.map((j) => {
      let sum = 0;
      for (let d = 0; d < dim; d++) sum += q[i * dim + d] * k[j * dim + d];
      return sum * scale;
    });
    const most = Math.max(...scores);
    const total = scores.reduce((sum, s) => sum + Math.exp(s - most), 0);
    lse[i] = most + Math.log(total);
    const p = scores.map((s) => Math.exp(s - lse[i]));
    seen.forEach((j, n) => {
      for (let e = 0; e < vDim; e++) o[i * vDim + e] += p[n] * v[j * vDim + e];
    });
    let delta = 0;
    for (let e = 0; e < vDim; e++) delta += g[i * vDim + e] * o[i * vDim + e];
    seen.forEach((j, n) => {
      let slope = 0;
      for (let e = 0; e < vDim; e++) {
        slope += g[i * vDim + e] * v[j * vDim + e];
        dv[j * vDim + e] += p[n] * g[i * vDim + e];
      }
      const ds = p[n] * (slope - delta) * scale;
      for (let d = 0; d < dim; d++) {
        dq[i * dim + d] += ds * k[j * dim + d];
        dk[j * dim + d] += ds * q[i * dim + d];
      }
    });
  }
  return { o, lse, dq, dk, dv };
}

/** The largest error relative to the largest value; NaN counts as equal to NaN. */
function worst(got: Float32Array, expected: Float64Array): number {
  const size = Math.max(1, ...expected.map((value) => (Number.isNaN(value) ? 0 : Math.abs(value))));
  return Math.max(
    ...got.map((value, i) =>
      Number.isNaN(value) && Number.isNaN(expected[i]) ? 0 : Math.abs(value - expected[i]) / size,
    ),
  );
}

const words = (values: readonly number[]) => new Float32Array(Int32Array.from(values).buffer);
const inputsOf = ({ queries, keys, dim, vDim }: Case, heads = 1) => [
  random(heads * queries * dim, 2),
  random(heads * keys * dim, 2),
  random(heads * keys * vDim),
  random(heads * queries * vDim),
];

describe('attention', () => {
  const cases: [string, Case][] = [
    ['one of everything', { queries: 1, keys: 1, dim: 1, vDim: 1, ...causal }],
    ['causal', { queries: 64, keys: 64, dim: 24, vDim: 24, ...causal }],
    ['causal, blocks that do not divide', { queries: 77, keys: 77, dim: 33, vDim: 20, ...causal }],
    ['everything visible', { queries: 50, keys: 130, dim: 64, vDim: 128, first: 0, left: FAR, right: FAR }],
    ['queries behind a cache', { queries: 7, keys: 130, dim: 16, vDim: 16, first: 123, left: FAR, right: 0 }],
    ['a window', { queries: 200, keys: 200, dim: 8, vDim: 12, first: 0, left: 20, right: 0 }],
    ['a window on both sides', { queries: 130, keys: 130, dim: 16, vDim: 5, first: 0, left: 10, right: 15 }],
    ['queries beyond the keys', { queries: 9, keys: 3, dim: 8, vDim: 8, ...causal }],
    ['queries that see nothing', { queries: 12, keys: 12, dim: 8, vDim: 8, first: -4, left: FAR, right: 0 }],
    [
      'hidden keys',
      {
        ...{ queries: 20, keys: 20, dim: 8, vDim: 8, ...causal },
        mask: Array.from({ length: 20 }, (_, j) => Number(j > 2 && j % 3 !== 0)),
      },
    ],
  ];

  test.each(cases)('%s', async (_, c) => {
    const { queries, keys, dim, vDim, first, left, right } = c;
    const scale = 1 / Math.sqrt(dim);
    const [q, k, v, g] = inputsOf(c);
    const expected = reference(c, [q, k, v, g], scale);
    const mask = words(c.mask ?? [1]);
    const outputs = [queries * vDim, queries, queries * dim, keys * dim, keys * vDim].map((n) =>
      new Float32Array(n).fill(9),
    );
    const results = await call(
      (m, [qAt, kAt, vAt, gAt, maskAt, o, lse, dq, dk, dv]) => {
        const hidden = c.mask ? maskAt : 0;
        m.attentionForward(
          ...([1, queries, keys, dim, vDim, qAt, 0, dim, kAt, 0, dim, vAt, 0, vDim, hidden] as const),
          ...([scale, first, left, right, false, o, 0, vDim, lse, 0] as const),
          m.threadScratch(m.attentionScratchBytes(dim)),
        );
        m.attentionBackward(
          ...([1, queries, keys, dim, vDim, qAt, 0, dim, kAt, 0, dim, vAt, 0, vDim, hidden] as const),
          ...([scale, first, left, right, o, gAt, 0, vDim, lse, 0] as const),
          ...([dq, 0, dim, dk, 0, dim, dv, 0, vDim] as const),
          m.threadScratch(m.attentionBackwardScratchBytes(dim, vDim)),
        );
      },
      q,
      k,
      v,
      g,
      mask,
      ...outputs,
    );
    const [o, lse, dq, dk, dv] = results.slice(5);
    expect(worst(o, expected.o)).toBeLessThan(1e-6);
    expect(worst(lse, expected.lse)).toBeLessThan(1e-6);
    expect(worst(dq, expected.dq)).toBeLessThan(3e-6);
    expect(worst(dk, expected.dk)).toBeLessThan(3e-6);
    expect(worst(dv, expected.dv)).toBeLessThan(3e-6);
  });

  test('a query has the same bits alone, in any range, and in any block of heads', async () => {
    const c = { queries: 53, keys: 150, dim: 20, vDim: 28, first: 97, left: 70, right: 0 };
    const { queries, keys, dim, vDim, first, left, right } = c;
    const inputs = inputsOf(c, 3);
    const run = (parts: readonly (readonly [head: number, heads: number, from: number, to: number])[]) =>
      call(
        (m, [q, k, v, , o, lse]) => {
          const scratch = m.scratch(m.attentionScratchBytes(dim));
          for (const [head, heads, from, to] of parts) {
            const row = head * queries + from;
            m.attentionForward(
              ...([heads, to - from, keys, dim, vDim] as const),
              ...([q + row * dim * 4, queries * dim, dim] as const),
              ...([k + head * keys * dim * 4, keys * dim, dim] as const),
              ...([v + head * keys * vDim * 4, keys * vDim, vDim, 0] as const),
              ...([0.2, first + from, left, right, false] as const),
              ...([o + row * vDim * 4, queries * vDim, vDim, lse + row * 4, queries] as const),
              scratch,
            );
          }
        },
        ...inputs,
        new Float32Array(3 * queries * vDim),
        new Float32Array(3 * queries),
      ).then((all) => all.slice(4));
    const whole = await run([[0, 3, 0, queries]]);
    const cut = [0, 1, 2].flatMap((head) =>
      [
        [0, 1],
        [1, 9],
        [9, 41],
        [41, 53],
      ].map(([from, to]) => [head, 1, from, to] as const),
    );
    expect(await run(cut)).toEqual(whole);
  });

  test('large scores do not overflow, and an empty query gives 0 where it should', async () => {
    const q = Float32Array.of(200, 200);
    const k = Float32Array.of(200, 200, -200, -200);
    const v = Float32Array.of(1, 2, 3, 4);
    const [, , , o, lse] = await call(
      (m, [qAt, kAt, vAt, to, sums]) => {
        const scratch = m.scratch(m.attentionScratchBytes(2));
        const run = (first: number, out: number, log: number) =>
          m.attentionForward(
            ...([1, 1, 2, 2, 2, qAt, 0, 2, kAt, 0, 2, vAt, 0, 2, 0, 1, first, FAR, 0, true] as const),
            ...([out, 0, 2, log, 0, scratch] as const),
          );
        run(1, to, sums);
        run(-1, to + 8, sums + 4);
      },
      q,
      k,
      v,
      new Float32Array(4).fill(7),
      new Float32Array(2).fill(7),
    );
    expect([...o]).toEqual([1, 2, 0, 0]);
    expect([...lse]).toEqual([80000, 0]);
  });

  test('a single query', async () => {
    for (const c of [
      { queries: 1, keys: 1, dim: 3, vDim: 2, ...causal },
      { queries: 1, keys: 100, dim: 64, vDim: 30, first: 99, left: FAR, right: 0 },
    ]) {
      const { keys, dim, vDim } = c;
      const mask = Array.from({ length: keys }, (_, j) => Number(j % 5 !== 1));
      const [q, k, v, g] = inputsOf(c, 2);
      const [, , , , o, lse] = await call(
        (m, [qAt, kAt, vAt, maskAt, to, sums]) => {
          m.attentionRow(
            ...([
              2,
              keys,
              dim,
              vDim,
              qAt,
              dim,
              kAt,
              keys * dim,
              dim,
              vAt,
              keys * vDim,
              vDim,
              maskAt,
            ] as const),
            ...([0.3, false, to, vDim, sums, m.threadScratch(m.attentionRowScratchBytes(keys))] as const),
          );
        },
        q,
        k,
        v,
        words(mask),
        new Float32Array(2 * vDim),
        new Float32Array(2),
      );
      for (const head of [0, 1]) {
        const part = (x: Float32Array) => x.subarray((head * x.length) / 2, ((head + 1) * x.length) / 2);
        const expected = reference({ ...c, mask }, [q, k, v, g].map(part), 0.3);
        expect(worst(part(o), expected.o)).toBeLessThan(1e-6);
        expect(worst(part(lse), expected.lse)).toBeLessThan(1e-6);
      }
    }
  });
});
