/** Charts of reports, as SVG without script: curves, histograms, bars. Their style is `CHART_STYLE`, once per page. */
import { type ScaleContinuousNumeric, scaleLinear, scaleLog } from 'd3-scale';
import { curveLinear, curveStepBefore, line } from 'd3-shape';
import { CHARACTER_WIDTH, escapeXml, PLOT_STYLE, round, rule, svgFrame, text } from './svg.js';

/** Colours of series in turn, told apart by people with colour blindness, with 3:1 contrast on the ground. */
const COLOURS = ['#2a78d6', '#d0551f', '#2f8f5b', '#8659c5', '#a07400', '#c2397b'];
const DARK_COLOURS = ['#4f9bec', '#ee7c48', '#4cb781', '#a988e0', '#c79a2a', '#e067a0'];

const colourRules = (colours: readonly string[]) =>
  colours
    .map(
      (colour, i) =>
        `.dawngrad-plot .line.s${i}, .dawngrad-plot .whisker.s${i} { stroke: ${colour}; } .dawngrad-plot .mark.s${i}, .dawngrad-plot .bar.s${i} { fill: ${colour}; } .dawngrad-plot .area.s${i} { fill: ${colour}; }`,
    )
    .join('\n');

/** What charts look like; for the head of a page that holds them. */
export const CHART_STYLE = `${PLOT_STYLE}
.dawngrad-plot .line { fill: none; stroke-width: 2; stroke-linejoin: round; }
.dawngrad-plot .line.s1 { stroke-dasharray: 7 3; }
.dawngrad-plot .line.s2 { stroke-dasharray: 2 3; }
.dawngrad-plot .line.s3 { stroke-dasharray: 9 3 2 3; }
.dawngrad-plot .area { fill-opacity: 0.14; stroke: none; }
.dawngrad-plot .whisker { stroke-width: 1.5; stroke-opacity: 0.6; }
.dawngrad-plot .reference { fill: none; stroke: #7d7b74; stroke-width: 1.5; stroke-dasharray: 3 4; }
${colourRules(COLOURS)}
@media (prefers-color-scheme: dark) {
  .dawngrad-plot .reference { stroke: #8f8d85; }
${colourRules(DARK_COLOURS)}
}`;

/** A point of a curve. */
export interface ChartPoint {
  readonly x: number;
  readonly y: number;
  /** From where to where it may be, drawn as a whisker. */
  readonly interval?: readonly [low: number, high: number];
  /** Shown when pointed at. */
  readonly note?: string;
}

/** A curve. */
export interface ChartSeries {
  readonly name: string;
  readonly points: readonly ChartPoint[];
  /** 'step': level up to each point, as precision over recall. */
  readonly kind?: 'line' | 'step';
  /** Draws the points themselves too. */
  readonly marks?: boolean;
  /** Fills what lies below. */
  readonly area?: boolean;
}

/** What `curvesSvg` draws. */
export interface CurvesOptions {
  readonly title: string;
  readonly xLabel: string;
  readonly yLabel: string;
  readonly series: readonly ChartSeries[];
  /** The data's own range by default. */
  readonly xDomain?: readonly [number, number];
  readonly yDomain?: readonly [number, number];
  /** Logarithmic axes; their data and domains must be above 0. */
  readonly logX?: boolean;
  readonly logY?: boolean;
  /** Holds its own style, for a file of its own instead of a page. */
  readonly alone?: boolean;
  /** A line to compare with. */
  readonly reference?: { readonly name: string; readonly points: readonly ChartPoint[] };
  /** In pixels, 460 × 420 by default. */
  readonly width?: number;
  readonly height?: number;
}

type Scale = ScaleContinuousNumeric<number, number>;

/** Curves over a common axis, with a legend; a chart that says so where there is nothing to draw. */
export function curvesSvg(options: CurvesOptions): string {
  const { title, xLabel, yLabel, series, reference, width = 460, height = 420 } = options;
  const { logX = false, logY = false, alone = false } = options;
  const entries = [
    ...series.map(({ name }, i) => ({
      name,
      mark: `<path class="line s${i % COLOURS.length}" d="M0,0L20,0"/>`,
    })),
    ...(reference ? [{ name: reference.name, mark: '<path class="reference" d="M0,0L20,0"/>' }] : []),
  ];
  const legend = legendRows(entries, width);
  const margin = { left: 54, top: 66 + legend.rows * 18, right: 20, bottom: 46 };
  const w = width - margin.left - margin.right;
  const h = height - margin.top - margin.bottom;
  const all = [...series.flatMap(({ points }) => points), ...(reference?.points ?? [])];
  const hasPoints = series.some(({ points }) => points.length > 0);
  const x = (logX ? scaleLog() : scaleLinear())
    .domain(options.xDomain ?? extent(all.map((p) => p.x)))
    .range([0, w]);
  const y = (logY ? scaleLog() : scaleLinear())
    .domain(options.yDomain ?? extent([...(logY ? [] : [0]), ...all.map((p) => p.y)]))
    .range([h, 0]);
  const body = !hasPoints
    ? [text(w / 2, h / 2, 'nothing to draw', 'text-anchor="middle"')]
    : [
        axes(x, y, w, h, logX, logY),
        reference ? pathOf('reference', reference.points, x, y) : '',
        ...series.map((s, i) => drawSeries(s, i % COLOURS.length, x, y, h)),
      ];
  return svgFrame({
    title,
    width,
    height,
    margin,
    style: alone ? CHART_STYLE : undefined,
    head: legend.parts,
    body: [
      ...body,
      text(w, h + 36, escapeXml(xLabel), 'text-anchor="end"'),
      text(-margin.left + 16, -12, escapeXml(yLabel)),
    ],
  });
}

function drawSeries(
  { points, kind, marks, area }: ChartSeries,
  i: number,
  x: Scale,
  y: Scale,
  h: number,
): string {
  const shown = marks ? points : thin(points, x, y);
  const parts = [pathOf(`line s${i}`, shown, x, y, kind)];
  if (area && shown.length > 0) {
    const line = pathData(shown, x, y, kind);
    const [first, last] = [shown[0], shown[shown.length - 1]];
    parts.unshift(
      `<path class="area s${i}" d="${line}L${round(x(last.x))},${h}L${round(x(first.x))},${h}Z"/>`,
    );
  }
  for (const point of marks ? points : []) {
    if (point.interval)
      parts.push(rule(`whisker s${i}`, x(point.x), y(point.interval[0]), x(point.x), y(point.interval[1])));
    const note = point.note === undefined ? '' : `<title>${escapeXml(point.note)}</title>`;
    parts.push(
      `<circle class="mark s${i}" cx="${round(x(point.x))}" cy="${round(y(point.y))}" r="3.5">${note}</circle>`,
    );
  }
  return parts.filter((part) => part !== '').join('\n');
}

/** Leaves out points that lie within half a pixel of the one before: a curve of thousands of documents stays small. */
function thin(points: readonly ChartPoint[], x: Scale, y: Scale): ChartPoint[] {
  const kept: ChartPoint[] = [];
  points.forEach((point, i) => {
    const before = kept.at(-1);
    const isNear =
      before !== undefined &&
      Math.abs(x(point.x) - x(before.x)) < 0.5 &&
      Math.abs(y(point.y) - y(before.y)) < 0.5;
    if (!isNear || i === points.length - 1) kept.push(point);
  });
  return kept;
}

function pathOf(
  name: string,
  points: readonly ChartPoint[],
  x: Scale,
  y: Scale,
  kind?: 'line' | 'step',
): string {
  return points.length === 0 ? '' : `<path class="${name}" d="${pathData(points, x, y, kind)}"/>`;
}

function pathData(points: readonly ChartPoint[], x: Scale, y: Scale, kind?: 'line' | 'step'): string {
  const draw = line<ChartPoint>()
    .x((p) => x(p.x))
    .y((p) => y(p.y))
    .curve(kind === 'step' ? curveStepBefore : curveLinear)
    .digits(1);
  return draw(points as ChartPoint[]) ?? '';
}

/** What `histogramSvg` draws. */
export interface HistogramOptions {
  readonly title: string;
  readonly xLabel: string;
  /** The values of each class; a histogram shows shares of the class, so that a small one can be compared. */
  readonly groups: readonly { readonly name: string; readonly values: ArrayLike<number> }[];
  /** 24 by default. */
  readonly bins?: number;
  readonly width?: number;
  readonly height?: number;
}

/** Histograms of positive numbers over one another; the axis is logarithmic where the largest is 20 times the smallest. */
export function histogramSvg({
  title,
  xLabel,
  groups,
  bins = 24,
  width = 620,
  height = 340,
}: HistogramOptions): string {
  const [low, high] = extent(groups.flatMap(({ values }) => Array.from(values)));
  const logX = low > 0 && high / low > 20;
  const position = (logX ? scaleLog() : scaleLinear()).domain([low, high]).range([0, bins]);
  const edges = Array.from({ length: bins + 1 }, (_, i) => position.invert(i));
  const series = groups.map(({ name, values }): ChartSeries => {
    const counts = new Array<number>(bins).fill(0);
    for (let i = 0; i < values.length; i++)
      counts[Math.min(bins - 1, Math.max(0, Math.floor(position(values[i]))))]++;
    const share = (bin: number) => (100 * counts[bin]) / values.length;
    // curveStepBefore: the level of a point holds from the point before it.
    const points =
      values.length === 0
        ? []
        : [
            { x: edges[0], y: 0 },
            { x: edges[0], y: share(0) },
            ...counts.map((_, bin) => ({ x: edges[bin + 1], y: share(bin) })),
            { x: edges[bins], y: 0 },
          ];
    return { name: `${name} (${values.length.toLocaleString('en')})`, points, kind: 'step', area: true };
  });
  return curvesSvg({
    title,
    xLabel,
    yLabel: '% of the class',
    series,
    xDomain: [low, high],
    logX,
    width,
    height,
  });
}

/** A bar to the right, or to the left for a negative value. */
export interface Bar {
  readonly label: string;
  readonly value: number;
  /** Number of its colour; 0 by default. */
  readonly colour?: number;
  /** Shown when pointed at. */
  readonly note?: string;
}

/** Horizontal bars with their labels. */
export function barsSvg({
  title,
  xLabel,
  bars,
  width = 460,
}: {
  title: string;
  xLabel: string;
  bars: readonly Bar[];
  width?: number;
}): string {
  // A single word may be wider than the average character says: “government” is.
  const left = 24 + Math.max(40, ...bars.map(({ label }) => 1.15 * label.length * CHARACTER_WIDTH));
  const margin = { left: Math.min(left, width / 2), top: 52 };
  const w = width - margin.left - 20;
  const h = bars.length * 19;
  const x = scaleLinear()
    .domain(extent([0, ...bars.map(({ value }) => value)]))
    .range([0, w]);
  const ticks = x.ticks(5);
  const format = x.tickFormat(5);
  const body = [
    ...ticks.flatMap((tick) => [
      rule('grid', x(tick), 0, x(tick), h),
      text(x(tick), h + 16, format(tick), 'class="tick" text-anchor="middle"'),
    ]),
    ...bars.map(({ label, value, colour = 0, note }, i) => {
      const [from, to] = [Math.min(x(0), x(value)), Math.max(x(0), x(value))];
      const hint = note === undefined ? '' : `<title>${escapeXml(note)}</title>`;
      return [
        text(-8, i * 19 + 14, escapeXml(label), 'text-anchor="end"'),
        `<rect class="bar s${colour}" x="${round(from)}" y="${i * 19 + 3}" width="${round(to - from)}" height="14" rx="2">${hint}</rect>`,
      ].join('');
    }),
    rule('axis', x(0), 0, x(0), h),
    text(w, h + 34, escapeXml(xLabel), 'text-anchor="end"'),
  ];
  return svgFrame({ title, width, height: margin.top + h + 46, margin, body });
}

function axes(x: Scale, y: Scale, width: number, height: number, logX: boolean, logY: boolean): string {
  const yFormat = logY ? (tick: number) => tick.toLocaleString('en') : y.tickFormat(5);
  const xTicks = logX ? logTicks(x) : x.ticks(6);
  const yTicks = logY ? logTicks(y) : y.ticks(5);
  return [
    ...yTicks.flatMap((tick) => [
      rule('grid', 0, y(tick), width, y(tick)),
      text(-8, y(tick) + 4, yFormat(tick), 'class="tick" text-anchor="end"'),
    ]),
    rule('axis', 0, height, width, height),
    ...xTicks.flatMap((tick) => [
      rule('axis', x(tick), height, x(tick), height + 5),
      text(x(tick), height + 19, tick.toLocaleString('en'), 'class="tick" text-anchor="middle"'),
    ]),
  ].join('\n');
}

/** Of a logarithmic axis only 1, 2 and 5 in each decade have room for labels; within a decade all that there are. */
function logTicks(scale: Scale): number[] {
  const ticks = scale.ticks();
  const main = ticks.filter((tick) => /^(0\.0*)?[125]0*$/.test(String(tick)));
  return main.length >= 3 ? main : ticks;
}

/** Entries side by side, in as many rows as they need. */
function legendRows(
  entries: readonly { name: string; mark: string }[],
  width: number,
): { parts: string[]; rows: number } {
  let left = 16;
  let row = 0;
  const parts = entries.map(({ name, mark }) => {
    const size = 26 + name.length * CHARACTER_WIDTH + 18;
    if (left > 16 && left + size > width) {
      left = 16;
      row++;
    }
    const part = `<g transform="translate(${round(left)} ${50 + row * 18})">${mark}${text(26, 4, escapeXml(name))}</g>`;
    left += size;
    return part;
  });
  return { parts, rows: row + 1 };
}

/** The least and the largest, apart even where they are equal. */
function extent(values: readonly number[]): [number, number] {
  const finite = values.filter(Number.isFinite);
  if (finite.length === 0) return [0, 1];
  const low = finite.reduce((a, b) => Math.min(a, b));
  const high = finite.reduce((a, b) => Math.max(a, b));
  // Ticks of a smaller range would be lost in rounding.
  const size = Math.max(1, Math.abs(low), Math.abs(high));
  return high - low > 1e-9 * size ? [low, high] : [low, low + size];
}
