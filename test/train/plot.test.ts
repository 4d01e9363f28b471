import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DataError } from '../../src/device/errors.js';
import { lossCurveSvg } from '../../src/train/plot.js';

const steps = (n: number, loss: (step: number) => number | null) =>
  Array.from({ length: n }, (_, i) => ({ step: i + 1, loss: loss(i + 1) }));

/** The points of the path of a class, in pixels of the plot. */
function pathOf(svg: string, name: string): number[][][] {
  // The second one: the first belongs to the legend.
  const d = [...svg.matchAll(new RegExp(`<path class="${name}" d="([^"]*)"`, 'g'))].at(-1)?.[1] ?? '';
  return d
    .split('M')
    .slice(1)
    .map((part) =>
      part
        .replace('Z', '')
        .split('L')
        .map((pair) => pair.split(',').map(Number)),
    );
}

/** Heights of the horizontal lines of a class. */
function heights(svg: string, name: string): number[] {
  return [...svg.matchAll(new RegExp(`<line class="${name}" [^>]*y1="([^"]*)"`, 'g'))].map(([, y]) =>
    Number(y),
  );
}

/** Whether every tag closes, as in XML. */
function isWellFormed(svg: string): boolean {
  const open: string[] = [];
  for (const [, close, name, , self] of svg.matchAll(
    /<(\/?)([a-z]+)((?:\s[a-zA-Z-]+="[^"<]*")*)\s*(\/?)>/gu,
  )) {
    if (close) {
      if (open.pop() !== name) return false;
    } else if (!self) open.push(name);
  }
  const text = svg.replace(/<[^<>]*>/g, '');
  return open.length === 0 && !/[<>]|&(?!(?:amp|lt|gt|quot);)/.test(text);
}

describe('lossCurveSvg', () => {
  const baselines = [
    { label: 'unigram counts', loss: 3.08 },
    { label: 'bigram counts', loss: 2.41 },
  ];

  it('draws the losses to scale', () => {
    const svg = lossCurveSvg({
      title: 'Moby-Dick',
      train: steps(100, (step) => 4 - step / 50),
      validation: [
        { step: 50, loss: 3.08 },
        { step: 100, loss: 2.41 },
      ],
      baselines,
    });
    expect(isWellFormed(svg)).toBe(true);
    // Validation points lie on the baselines of the same loss.
    const [unigram, bigram] = heights(svg, 'baseline');
    expect(pathOf(svg, 'validation')[0].map(([, y]) => y)).toEqual([unigram, bigram]);
    const [raw] = pathOf(svg, 'raw');
    expect(raw.length).toBe(100);
    // A straight line stays one: equal steps right and down, and twice the way at twice the step.
    const [x1, y1] = raw[0];
    expect((raw[98][0] - x1) / (raw[49][0] - x1)).toBeCloseTo(2, 1);
    expect((raw[98][1] - y1) / (raw[49][1] - y1)).toBeCloseTo(2, 1);
    // …and smoothing does not move it, but for the last points, which look back only.
    expect(pathOf(svg, 'train')[0].slice(0, 98)).toEqual(raw.slice(0, 98));
    for (const label of [
      'Moby-Dick',
      'unigram counts 3.080',
      'bigram counts 2.410',
      'validation: 2.410',
      'loss (nats)',
    ]) {
      expect(svg).toContain(label);
    }
  });

  it('names the best validation loss where it is not the last', () => {
    const validation = [
      { step: 500, loss: 2.0 },
      { step: 1000, loss: 1.5 },
      { step: 1500, loss: 1.75 },
    ];
    expect(lossCurveSvg({ title: '', train: [], validation })).toContain(
      'validation: 1.750 (best 1.500 at 1,000)',
    );
  });

  it('smooths noise', () => {
    const svg = lossCurveSvg({ title: '', train: steps(400, (step) => 2 + (step % 2)) });
    const ys = (name: string) =>
      pathOf(svg, name)[0]
        .slice(20)
        .map(([, y]) => y);
    const spread = (values: number[]) => Math.max(...values) - Math.min(...values);
    expect(spread(ys('train'))).toBeLessThan(spread(ys('raw')) / 5);
  });

  it('leaves gaps where a loss is missing, and clips one wild batch', () => {
    const train = steps(300, (step) =>
      step > 100 && step < 120 ? Number.NaN : step === 200 ? 1e9 : 2 + 1 / step,
    );
    train[150].loss = null;
    const svg = lossCurveSvg({ title: '', train });
    expect(pathOf(svg, 'raw').length).toBe(3);
    expect(svg).not.toMatch(/NaN|Infinity|null|undefined/);
  });

  it('draws what there is: nothing, one point, or a line of equal losses', () => {
    expect(lossCurveSvg({ title: '', train: [] })).toContain('no losses yet');
    for (const train of [
      steps(1, () => 2),
      steps(1, () => 0),
      steps(30, () => 2),
      [{ step: 0, loss: null }],
    ]) {
      const svg = lossCurveSvg({ title: '', train });
      expect(isWellFormed(svg)).toBe(true);
      expect(svg).not.toMatch(/NaN|Infinity/);
    }
  });

  it('stays small for a long run', () => {
    const svg = lossCurveSvg({ title: '', train: steps(200_000, (step) => 2 + Math.sin(step)) });
    expect(svg.length).toBeLessThan(60_000);
  });

  it('keeps labels of close baselines apart and inside the picture', () => {
    const svg = lossCurveSvg({
      title: '',
      train: steps(10, () => 5),
      baselines: ['a', 'b', 'c', 'd'].map((label, i) => ({ label, loss: 1 + i / 1000 })),
      height: 300,
    });
    const tops = [...svg.matchAll(/<text x="[^"]*" y="([^"]*)">[abcd] 1\.00/g)].map(([, y]) => Number(y));
    expect(tops.length).toBe(4);
    for (let i = 1; i < 4; i++) expect(tops[i] - tops[i - 1]).toBeGreaterThanOrEqual(12);
    expect(Math.max(...tops)).toBeLessThan(300 - 98);
  });

  it('is well-formed for any text and numbers', () => {
    const loss = fc.oneof(fc.double(), fc.constant(null));
    const points = fc.array(fc.record({ step: fc.nat(), loss }), { maxLength: 50 });
    const sorted = points.map((list) => list.sort((a, b) => a.step - b.step));
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), sorted, sorted, (title, train, validation) => {
        const svg = lossCurveSvg({ title, xLabel: title, yLabel: title, train, validation });
        expect(isWellFormed(svg)).toBe(true);
      }),
      { numRuns: 200 },
    );
  });

  it('refuses sizes and numbers that cannot be drawn', () => {
    expect(() => lossCurveSvg({ title: '', train: [], width: 120 })).toThrow(
      new DataError(
        'lossCurveSvg: expected room for a plot of 100 × 60 pixels, got 42 × 316 in 120 × 460; use a larger size or shorter baseline labels',
      ),
    );
    expect(() =>
      lossCurveSvg({ title: '', train: [], baselines: [{ label: 'x', loss: Number.NaN }] }),
    ).toThrow(new DataError('lossCurveSvg: expected a baseline as a finite number, got NaN at 0'));
    expect(() => lossCurveSvg({ title: '', train: [{ step: Number.NaN, loss: 1 }] })).toThrow(
      new DataError('lossCurveSvg: expected a step as a finite number, got NaN at 0'),
    );
  });
});
