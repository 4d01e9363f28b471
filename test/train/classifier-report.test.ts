import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { barsSvg, curvesSvg, histogramSvg } from '../../src/train/chart.js';
import { prAuc, rocAuc } from '../../src/train/classification-metrics.js';
import {
  calibrationSvg,
  classifierSections,
  formatMetricRows,
  measureModels,
  rocSvg,
} from '../../src/train/classifier-report.js';
import { formatNumber, htmlReport, htmlTable } from '../../src/train/html-report.js';

/** Whether every tag closes, as in XML. */
function isWellFormed(markup: string): boolean {
  const open: string[] = [];
  const tags = /<(\/?)([a-z0-9]+)((?:\s[a-zA-Z-]+="[^"<]*")*)\s*(\/?)>/gu;
  for (const [, close, name, , self] of markup.matchAll(tags)) {
    if (close) {
      if (open.pop() !== name) return false;
    } else if (!self && name !== 'br' && name !== 'meta') open.push(name);
  }
  const text = markup.replace(/<style>[^<]*<\/style>|<!doctype html>|<[^<>]*>/g, '');
  return open.length === 0 && !/[<>]|&(?!(?:amp|lt|gt|quot);)/.test(text);
}

const labels = [0, 0, 1, 0, 1, 1, 0, 1, 0, 0];
const good = {
  name: 'chunks',
  scores: [0.1, 0.2, 0.7, 0.3, 0.9, 0.8, 0.4, 0.35, 0.2, 0.1],
  labels,
  threshold: 0.45,
};
const prior = { name: 'prior', scores: labels.map(() => 0.4), labels };
const options = { resamples: 200 };

describe('measureModels', () => {
  const [first, second] = measureModels([prior, good], options);

  it('gives each metric with its interval', () => {
    expect(second.metrics.rocAuc.value).toBe(rocAuc(good.scores, labels));
    expect(second.metrics.prAuc.value).toBe(prAuc(good.scores, labels));
    for (const { value, low, high } of Object.values(second.metrics)) {
      expect(low).toBeLessThanOrEqual(value);
      expect(high).toBeGreaterThanOrEqual(value);
    }
    expect(second.confusion).toEqual({
      truePositive: 3,
      falsePositive: 0,
      trueNegative: 6,
      falseNegative: 1,
    });
    expect(first.against).toBeNull();
    expect(second.against?.rocAuc.difference.value).toBeCloseTo(second.metrics.rocAuc.value - 0.5, 12);
  });

  it('says what the figures cannot', () => {
    expect(first.notes.join('; ')).toMatch(/only 4 documents of the rarer class.*all scores are equal/);
    const [alone] = measureModels([{ name: 'm', scores: [0.2, 0.3], labels: [1, 1] }], options);
    expect(alone.metrics.rocAuc.value).toBeNaN();
    expect(alone.notes[0]).toBe('all 2 documents are of class 1: metrics of two classes are undefined');
    // Other documents are no comparison.
    const other = { name: 'other', scores: [0.1, 0.9], labels: [0, 1] };
    expect(measureModels([prior, other], options)[1].against).toBeNull();
  });

  it('as a table of a terminal', () => {
    const text = formatMetricRows([first, second]);
    expect(text).toMatch(/ROC-AUC +PR-AUC +macro-F1 +balanced accuracy +Brier\n/);
    expect(text).toMatch(/^prior +0\.500 \(0\.500–0\.500\) +0\.400 \(/m);
    expect(text).toMatch(/^chunks against prior: PR-AUC \+0\.\d{3} \(.* to \+0\.\d{3}, p (= 0|<)/m);
  });
});

describe('the page', () => {
  it('holds table, curves, calibration and confusion, and no script', () => {
    const page = htmlReport({
      title: 'Run <1>',
      lead: 'a & b',
      sections: classifierSections([prior, { ...good, name: '<b>&"' }], options),
    });
    expect(isWellFormed(page)).toBe(true);
    for (const part of [
      'ROC-AUC',
      'against prior',
      'Precision and recall',
      'Calibration',
      'said 1',
      'Run &lt;1&gt;',
      'a &amp; b',
    ]) {
      expect(page).toContain(part);
    }
    expect(page).not.toMatch(/<script|<b>|https?:(?!\/\/www\.w3\.org)/);
  });

  it('draws the curves to scale', () => {
    const svg = rocSvg([good]);
    const line = [...svg.matchAll(/<path class="line s0" d="([^"]*)"/g)].at(-1)![1];
    const points = line
      .slice(1)
      .split('L')
      .map((pair) => pair.split(',').map(Number));
    const [x0, y0] = points[0];
    const [x1, y1] = points.at(-1)!;
    // From (0, 0) to (1, 1), past three of four positives without a false one.
    const up = points.filter(([x]) => x === x0).map(([, y]) => (y0 - y) / (y0 - y1));
    expect(Math.max(...up)).toBeCloseTo(0.75, 2);
    expect(x1).toBeGreaterThan(x0 + 300);
    expect(calibrationSvg([good]).match(/<circle/g)?.length).toBe(7);
    expect(rocSvg([{ name: 'm', scores: [0.1, 0.2], labels: [1, 1] }])).toContain('nothing to draw');
  });

  it('is well-formed for any text and numbers', () => {
    const number = fc.double({ min: -1e6, max: 1e6, noNaN: true });
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.array(number, { maxLength: 30 }), (name, values) => {
        const points = values.map((y, x) => ({ x, y, note: name }));
        const charts = [
          curvesSvg({ title: name, xLabel: name, yLabel: name, series: [{ name, points, marks: true }] }),
          histogramSvg({ title: name, xLabel: name, groups: [{ name, values: values.map(Math.abs) }] }),
          barsSvg({
            title: name,
            xLabel: name,
            bars: values.map((value) => ({ label: name, value, note: name })),
          }),
          htmlTable([name], [[name], [values[0] ?? 0], [{ value: name, small: name }]]),
        ];
        for (const chart of charts) {
          expect(isWellFormed(chart)).toBe(true);
          expect(chart).not.toMatch(/NaN|Infinity|undefined/);
        }
      }),
      { numRuns: 60 },
    );
  });

  it('counts each value of a histogram once', () => {
    const svg = histogramSvg({
      title: 't',
      xLabel: 'x',
      bins: 4,
      groups: [{ name: 'a', values: [1, 2, 3, 4, 5] }],
    });
    expect(svg).toContain('a (5)');
    expect(formatNumber(1234567)).toBe('1,234,567');
    expect(formatNumber(0.12345)).toBe('0.123');
    expect(formatNumber(Number.NaN)).toBe('–');
  });
});
