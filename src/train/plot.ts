/** Loss curves as one self-contained SVG: no script, no fonts, readable on light and dark pages. */
import { type ScaleLinear, scaleLinear } from 'd3-scale';
import { line } from 'd3-shape';
import { DataError } from '../device/errors.js';
import { CHARACTER_WIDTH, escapeXml, PLOT_STYLE, round, rule, svgFrame, text } from './svg.js';

/** One measurement. A loss that is not a finite number (null in JSON) leaves a gap. */
export interface LossPoint {
  /** Number of the training step. */
  step: number;
  /** In nats. */
  loss: number | null;
}

/** A horizontal line to compare with. */
export interface Baseline {
  label: string;
  loss: number;
}

/** What `lossCurveSvg` draws. */
export interface LossCurveOptions {
  title: string;
  /** By rising step. */
  train: readonly LossPoint[];
  /** By rising step. */
  validation?: readonly LossPoint[];
  baselines?: readonly Baseline[];
  /** Under the horizontal axis; `step` by default. */
  xLabel?: string;
  /** Above the vertical axis; `loss (nats)` by default. */
  yLabel?: string;
  /** In pixels, 840 × 460 by default. */
  width?: number;
  height?: number;
}

interface Point {
  step: number;
  loss: number;
}

/** A finite or missing loss at a step, in drawing order. */
type Gapped = { step: number; loss: number | undefined };

const MARGIN = { top: 98, right: 24, bottom: 46, left: 54 };
/** Pixels between two labels' baselines. */
const LABEL_HEIGHT = 15;
/** Share of the points that the smoothed curve averages over. */
const SMOOTHING = 1 / 40;

/** Colours with at least 3:1 contrast on white and on the dark ground, told apart by people with colour blindness. */
const STYLE = `${PLOT_STYLE}
.dawngrad-plot .raw, .dawngrad-plot .train, .dawngrad-plot .validation { fill: none; stroke-linejoin: round; }
.dawngrad-plot .raw { stroke: #2a78d6; stroke-opacity: 0.28; }
.dawngrad-plot .train { stroke: #2a78d6; stroke-width: 2; stroke-linecap: round; }
.dawngrad-plot .validation { stroke: #d0551f; stroke-width: 1.5; stroke-opacity: 0.6; }
.dawngrad-plot .point { fill: #d0551f; stroke: #ffffff; stroke-width: 1.5; }
.dawngrad-plot .baseline { stroke: #7d7b74; stroke-width: 1.5; stroke-dasharray: 5 4; }
@media (prefers-color-scheme: dark) {
  .dawngrad-plot .raw, .dawngrad-plot .train { stroke: #4f9bec; }
  .dawngrad-plot .raw { stroke-opacity: 0.4; }
  .dawngrad-plot .validation { stroke: #ee7c48; }
  .dawngrad-plot .point { fill: #ee7c48; stroke: #1a1a19; }
  .dawngrad-plot .baseline { stroke: #8f8d85; }
}`;

/**
 * Draws training losses (raw and smoothed), validation losses and baselines over the training steps.
 * @param options curves, labels and size
 * @returns the text of an SVG file; a plot that says so where there is nothing to draw yet
 * @throws DataError when a size leaves no room, or a step or baseline is not a finite number
 */
export function lossCurveSvg(options: LossCurveOptions): string {
  const {
    title,
    baselines = [],
    xLabel = 'step',
    yLabel = 'loss (nats)',
    width = 840,
    height = 460,
  } = options;
  const labelWidths = baselines.map((baseline) => 16 + baselineText(baseline).length * CHARACTER_WIDTH);
  const plotWidth = Math.floor(width - MARGIN.left - Math.max(MARGIN.right, ...labelWidths));
  const plotHeight = height - MARGIN.top - MARGIN.bottom;
  if (!(plotWidth >= 100 && plotHeight >= 60)) {
    throw new DataError(
      `lossCurveSvg: expected room for a plot of 100 × 60 pixels, got ${plotWidth} × ${plotHeight} ` +
        `in ${width} × ${height}; use a larger size or shorter baseline labels`,
    );
  }
  checkFinite(
    'a baseline',
    baselines.map(({ loss }) => loss),
  );
  const train = gapped(options.train);
  const validation = gapped(options.validation ?? []);
  const smoothed = smooth(train);
  const isEmpty = finite(train).length + finite(validation).length === 0;

  const x = scaleLinear()
    .domain(stepDomain([...train, ...validation]))
    .range([0, plotWidth]);
  const losses = [...finite(smoothed), ...finite(validation), ...baselines].map(({ loss }) => loss);
  // Raw losses may leave the frame above: one wild batch must not flatten the rest.
  const raw = finite(train).map(({ loss }) => loss);
  const y = scaleLinear().domain(lossDomain(losses, raw)).range([plotHeight, 0]);

  const body = [
    isEmpty ? '' : axes(x, y, plotWidth, plotHeight),
    // A nested svg clips what leaves the frame, without an id that could clash on a page.
    `<svg width="${plotWidth}" height="${plotHeight}" overflow="hidden">`,
    path('raw', thin(train, plotWidth), x, y),
    ...baselines.map(({ loss }) => rule('baseline', 0, y(loss), plotWidth, y(loss))),
    path('train', thin(smoothed, plotWidth), x, y),
    '</svg>',
    path('validation', validation, x, y),
    ...finite(validation).map(
      ({ step, loss }) =>
        `<circle class="point" cx="${round(x(step))}" cy="${round(y(loss))}" r="4"><title>${xLabel} ${step}: ${format(loss)}</title></circle>`,
    ),
    ...baselineLabels(baselines, y, plotWidth, plotHeight),
    text(plotWidth, plotHeight + 36, escapeXml(xLabel), 'text-anchor="end"'),
    text(-MARGIN.left + 16, -14, escapeXml(yLabel)),
    isEmpty ? text(plotWidth / 2, plotHeight / 2, 'no losses yet', 'text-anchor="middle"') : '',
  ];
  return svgFrame({
    title,
    width,
    height,
    margin: MARGIN,
    style: STYLE,
    head: legend(smoothed, validation),
    body,
  });
}

/**
 * Mean over the points around each one. Symmetric wherever it can be, shrinking towards the steep beginning, so that the
 * curve does not lag; the last points average over those before them, so that it does not end in noise.
 */
function smooth(points: readonly Gapped[]): Gapped[] {
  const reach = Math.max(1, Math.round((points.length * SMOOTHING) / 2));
  const sums = [0];
  const counts = [0];
  points.forEach(({ loss }, i) => {
    sums.push(sums[i] + (loss ?? 0));
    counts.push(counts[i] + (loss === undefined ? 0 : 1));
  });
  return points.map(({ step, loss }, i) => {
    const back = Math.min(reach, i);
    const end = Math.min(points.length, i + back + 1);
    const count = counts[end] - counts[i - back];
    return { step, loss: loss === undefined ? undefined : (sums[end] - sums[i - back]) / count };
  });
}

/** At most two points per pixel column, the lowest and the highest, so that a long run stays a small file. */
function thin(points: readonly Gapped[], columns: number): Gapped[] {
  if (points.length <= 2 * columns) return [...points];
  const kept: Gapped[] = [];
  for (let column = 0; column < columns; column++) {
    const start = Math.floor((column * points.length) / columns);
    const end = Math.floor(((column + 1) * points.length) / columns);
    const inside = points.slice(start, end);
    const ordered = finite(inside).sort((a, b) => a.loss - b.loss);
    if (ordered.length === 0) kept.push(inside[0]);
    else kept.push(...[ordered[0], ordered[ordered.length - 1]].sort((a, b) => a.step - b.step));
  }
  return kept;
}

function path(name: string, points: readonly Gapped[], x: Scale, y: Scale): string {
  const draw = line<Gapped>()
    .defined(({ loss }) => loss !== undefined)
    .x(({ step }) => x(step))
    .y(({ loss }) => y(loss!))
    .digits(1);
  const d = draw(points as Gapped[]);
  return d === null ? '' : `<path class="${name}" d="${d}"/>`;
}

type Scale = ScaleLinear<number, number>;

function axes(x: Scale, y: Scale, width: number, height: number): string {
  const yFormat = y.tickFormat(6);
  const wholeSteps = x.ticks(8).filter(Number.isInteger);
  return [
    ...y
      .ticks(6)
      .flatMap((loss) => [
        rule('grid', 0, y(loss), width, y(loss)),
        text(-8, y(loss) + 4, yFormat(loss), 'class="tick" text-anchor="end"'),
      ]),
    rule('axis', 0, height, width, height),
    ...wholeSteps.flatMap((step) => [
      rule('axis', x(step), height, x(step), height + 5),
      text(x(step), height + 19, step.toLocaleString('en'), 'class="tick" text-anchor="middle"'),
    ]),
  ].join('\n');
}

/** Labels right of their lines, pushed apart where the lines lie close together. */
function baselineLabels(baselines: readonly Baseline[], y: Scale, width: number, height: number): string[] {
  const sorted = [...baselines].sort((a, b) => b.loss - a.loss);
  let previous = Number.NEGATIVE_INFINITY;
  const tops = sorted.map(({ loss }) => (previous = Math.max(y(loss) + 4, previous + LABEL_HEIGHT)));
  const excess = Math.max(0, previous - (height + 4));
  return sorted.map(({ label, loss }, i) =>
    text(width + 8, tops[i] - excess, `${escapeXml(label)} ${format(loss)}`),
  );
}

function baselineText({ label, loss }: Baseline): string {
  return `${label} ${format(loss)}`;
}

function legend(smoothed: readonly Gapped[], validation: readonly Gapped[]): string[] {
  const parts: string[] = [];
  let left = 16;
  const add = (mark: string, label: string) => {
    parts.push(`<g transform="translate(${left} 52)">${mark}${text(26, 4, label)}</g>`);
    left += 26 + label.length * CHARACTER_WIDTH + 22;
  };
  const last = finite(smoothed).at(-1);
  if (last) {
    add('<path class="raw" d="M0,0L5,-5L10,4L15,-3L20,2"/>', 'train, each batch');
    add('<path class="train" d="M1,0L19,0"/>', `train, smoothed: ${format(last.loss)}`);
  }
  const points = finite(validation);
  const end = points.at(-1);
  if (end) {
    const best = points.reduce((a, b) => (b.loss < a.loss ? b : a));
    const note = best === end ? '' : ` (best ${format(best.loss)} at ${best.step.toLocaleString('en')})`;
    add(
      '<path class="validation" d="M0,0L20,0"/><circle class="point" cx="10" cy="0" r="4"/>',
      `validation: ${format(end.loss)}${note}`,
    );
  }
  return parts;
}

function stepDomain(points: readonly Gapped[]): [number, number] {
  const steps = points.map(({ step }) => step);
  checkFinite('a step', steps);
  if (steps.length === 0) return [0, 1];
  const low = minimum(steps);
  const high = maximum(steps);
  // A run's first step is 0 or 1; the axis begins at 0 for both.
  const start = low <= high / 10 ? Math.min(low, 0) : low;
  return high > start ? [start, high] : [start - 1, start + 1];
}

function lossDomain(losses: readonly number[], raw: readonly number[]): [number, number] {
  if (losses.length === 0) return [0, 1];
  const high = maximum(losses);
  const low = Math.min(minimum(losses), minimum(raw));
  // Equal losses still need an axis of some length.
  const room = Math.max((high - low) * 0.04, Math.abs(high) * 1e-3, 1e-6);
  // Losses above 0 must not show an axis below it.
  return [low >= 0 ? Math.max(0, low - room) : low - room, high + room];
}

function gapped(points: readonly LossPoint[]): Gapped[] {
  return points.map(({ step, loss }) => ({
    step,
    loss: Number.isFinite(loss) ? (loss as number) : undefined,
  }));
}

function finite(points: readonly Gapped[]): Point[] {
  return points.filter((point): point is Point => point.loss !== undefined);
}

/** Not `Math.min(...)`: a long run has more points than a call may have arguments. */
function minimum(values: readonly number[]): number {
  return values.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
}

function maximum(values: readonly number[]): number {
  return values.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
}

function checkFinite(what: string, values: readonly number[]): void {
  const odd = values.findIndex((value) => !Number.isFinite(Math.fround(value)));
  if (odd !== -1)
    throw new DataError(`lossCurveSvg: expected ${what} as a finite number, got ${values[odd]} at ${odd}`);
}

function format(loss: number): string {
  return Math.abs(loss) >= 100 ? loss.toPrecision(4) : loss.toFixed(3);
}
