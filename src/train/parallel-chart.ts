/** Parallel coordinates as SVG without script: an axis per setting, a line per trial, coloured from the worst to the best. */
import { scaleLinear, scaleLog } from 'd3-scale';
import { curveBumpX, line } from 'd3-shape';
import { CHARACTER_WIDTH, escapeXml, round, rule, svgFrame, text } from './svg.js';

/** An axis, and where each line crosses it. */
export interface ParallelAxis {
  readonly name: string;
  /** Null where a line has no value here: it passes below the axis. */
  readonly values: readonly (number | string | null)[];
  /** What an axis of numbers spans; the values' own range unless given. */
  readonly domain?: readonly [low: number, high: number];
  readonly log?: boolean;
  /** Puts small numbers at the top. */
  readonly downward?: boolean;
  /** Makes it an axis of categories, from the top. */
  readonly categories?: readonly string[];
  /** What stands below the axis for lines without a value; 'not set' unless given. */
  readonly absent?: string;
}

export interface ParallelLine {
  /** 0 for the worst, 1 for the best; null for one that has no place among them. */
  readonly colour: number | null;
  readonly isBest?: boolean;
  /** Shown when pointed at. */
  readonly note: string;
}

export interface ParallelOptions {
  readonly title: string;
  readonly axes: readonly ParallelAxis[];
  readonly lines: readonly ParallelLine[];
  /** What the colours mean. */
  readonly legend: { readonly worst: string; readonly best: string; readonly none: string };
  readonly height?: number;
}

/** From hardly there to what must be seen, on light and on dark pages. */
const SHADES = ['#d9dce1', '#bccbdf', '#97b7de', '#6c9edb', '#4086d8', '#1f66b8', '#0c478c'];
const DARK_SHADES = ['#36383c', '#394a61', '#3a6085', '#3f7bb2', '#4f9bec', '#83baf4', '#c0ddfc'];

const shades = (colours: readonly string[]) =>
  colours.map((colour, i) => `.dawngrad-plot .shade${i} { stroke: ${colour}; }`).join('\n');

/** What `parallelSvg` adds to `CHART_STYLE`. */
export const PARALLEL_STYLE = `
.dawngrad-plot .trial { fill: none; stroke-width: 1.6; }
.dawngrad-plot .trial:hover { stroke: #d0551f; stroke-width: 3; }
.dawngrad-plot .none { stroke: #b5b3ab; stroke-dasharray: 2 3; }
.dawngrad-plot .winner { stroke: #d0551f; stroke-width: 3.2; }
.dawngrad-plot .halo { stroke: #ffffff; stroke-opacity: 0.8; stroke-width: 3; stroke-linejoin: round; paint-order: stroke; }
${shades(SHADES)}
@media (prefers-color-scheme: dark) {
  .dawngrad-plot .trial:hover, .dawngrad-plot .winner { stroke: #ee7c48; }
  .dawngrad-plot .none { stroke: #62615b; }
  .dawngrad-plot .halo { stroke: #1a1a19; }
${shades(DARK_SHADES)}
}`;

/** Room for a category's lines, so that they do not hide one another. */
const BAND = 18;
/** Where lines without a value pass, below an axis. */
const BELOW = 30;

/** A chart of parallel coordinates; the best line lies on top. */
export function parallelSvg({ title, axes, lines, legend, height = 420 }: ParallelOptions): string {
  const margin = { left: 70, top: 104, right: 70, bottom: 54 };
  const h = height - margin.top - margin.bottom;
  const steps = axes.slice(1).map((axis, i) => 46 + Math.max(labelWidth(axes[i]), labelWidth(axis)));
  const stretch = Math.max(1, (860 - margin.left - margin.right) / steps.reduce((a, b) => a + b, 1));
  const xs = [0];
  for (const step of steps) xs.push(xs[xs.length - 1] + step * stretch);
  const width = Math.ceil(xs[xs.length - 1] + margin.left + margin.right);
  const drawn = axes.map((axis, i) => drawAxis(axis, xs[i], h));
  const order = lines.map((_, i) => i).sort((a, b) => rank(lines[a]) - rank(lines[b]));
  const paths = order.map((i) => {
    const points = drawn.map(({ at }, k): [number, number] => [xs[k], at(i)]);
    const d = line().curve(curveBumpX).digits(1)(points) ?? '';
    return `<path class="trial ${className(lines[i])}" d="${d}"><title>${escapeXml(lines[i].note)}</title></path>`;
  });
  return svgFrame({
    title,
    width,
    height,
    margin,
    head: legendOf(legend, lines),
    body: [...drawn.map(({ rules }) => rules), ...paths, ...drawn.map(({ labels }) => labels)],
  });
}

const rank = ({ colour, isBest }: ParallelLine): number => (isBest ? 2 : (colour ?? -1));

function className({ colour, isBest }: ParallelLine): string {
  if (isBest) return 'winner';
  if (colour === null) return 'none';
  return `shade${Math.min(SHADES.length - 1, Math.floor(colour * SHADES.length))}`;
}

function labelWidth({ name, categories = [] }: ParallelAxis): number {
  return CHARACTER_WIDTH * Math.max(6, name.length, ...categories.map((c) => c.length));
}

interface DrawnAxis {
  readonly rules: string;
  readonly labels: string;
  /** Where a line crosses, by the number of the line. */
  at(line: number): number;
}

function drawAxis(axis: ParallelAxis, x: number, h: number): DrawnAxis {
  const { name, values, categories, absent = 'not set' } = axis;
  const isAbsent = values.some((value) => value === null);
  const ticks = categories ? [] : numberTicks(axis, h);
  const y = categories ? categoryPositions(axis, h) : numberPositions(axis, h);
  const marks = categories
    ? categories.map((label, i) => ({ label, y: categoryCentre(i, categories.length, h) }))
    : ticks;
  const halo = 'class="tick halo"';
  return {
    at: (i) => (values[i] === null ? h + BELOW : y(i)),
    rules: [
      rule('axis', x, 0, x, h),
      isAbsent ? rule('axis', x - 4, h + BELOW, x + 4, h + BELOW) : '',
      ...marks.map((mark) => rule('axis', x - 4, mark.y, x + 4, mark.y)),
    ].join('\n'),
    labels: [
      text(x, -16, escapeXml(name), 'text-anchor="middle" class="halo" font-weight="600"'),
      ...marks.map((mark) => text(x + 7, mark.y + 4, escapeXml(mark.label), halo)),
      isAbsent ? text(x + 7, h + BELOW + 4, escapeXml(absent), halo) : '',
    ].join('\n'),
  };
}

function scaleOf({ values, domain, log = false, downward = false }: ParallelAxis, h: number) {
  const numbers = values.filter((value): value is number => typeof value === 'number');
  const [low, high] = domain ?? [Math.min(...numbers), Math.max(...numbers)];
  // One value, or none, stands in the middle.
  const [from, to] =
    low < high
      ? [low, high]
      : low > 0
        ? [low / 2, low * 2]
        : numbers.length > 0
          ? [low - 1, low + 1]
          : [0, 1];
  return (log && from > 0 ? scaleLog() : scaleLinear()).domain([from, to]).range(downward ? [0, h] : [h, 0]);
}

function numberPositions(axis: ParallelAxis, h: number): (line: number) => number {
  const scale = scaleOf(axis, h);
  return (i) => scale(axis.values[i] as number);
}

function numberTicks(axis: ParallelAxis, h: number): { label: string; y: number }[] {
  const scale = scaleOf(axis, h);
  const [low, high] = scale.domain();
  const whole = axis.values.every((value) => value === null || Number.isInteger(value));
  const all = scale.ticks(6).filter((tick) => !whole || Number.isInteger(tick));
  if (!(axis.log && low > 0)) return all.map((tick) => ({ label: label(tick), y: scale(tick) }));
  // Of many decades the powers of ten have room for labels, of few 1, 2 and 5 too.
  const leading = high / low > 200 ? /^1e/ : /^[125]e/;
  const marked = scaleLog()
    .domain([low, high])
    .ticks()
    .filter((tick) => leading.test(tick.toExponential().replace('.0e', 'e')));
  return (marked.length > 1 ? marked : [low, high]).map((tick) => ({ label: label(tick), y: scale(tick) }));
}

function label(value: number): string {
  const size = Math.abs(value);
  const short = Number(value.toPrecision(4));
  return size !== 0 && (size < 1e-3 || size >= 1e6) ? short.toExponential() : String(short);
}

const categoryCentre = (i: number, n: number, h: number): number => ((i + 0.5) / n) * h;

/** Lines of one category lie side by side, in their order. */
function categoryPositions({ values, categories = [] }: ParallelAxis, h: number): (line: number) => number {
  const band = Math.min(BAND, (0.6 * h) / categories.length);
  return (i) => {
    const centre = categoryCentre(categories.indexOf(values[i] as string), categories.length, h);
    const same = values.flatMap((value, k) => (value === values[i] ? [k] : []));
    return centre + (same.length < 2 ? 0 : (same.indexOf(i) / (same.length - 1) - 0.5) * band);
  };
}

function legendOf(legend: ParallelOptions['legend'], lines: readonly ParallelLine[]): string[] {
  const y = 56;
  const begin = 20 + legend.worst.length * CHARACTER_WIDTH;
  const end = begin + SHADES.length * 16;
  const parts = [
    text(16, y, escapeXml(legend.worst)),
    ...SHADES.map(
      (_, i) => `<path class="shade${i}" stroke-width="6" d="M${round(begin + 4 + i * 16)},${y - 4}h16"/>`,
    ),
    `<path class="winner" d="M${round(end + 14)},${y - 4}h24"/>`,
    text(end + 44, y, escapeXml(legend.best)),
  ];
  if (lines.some(({ colour }) => colour === null)) {
    const x = end + 70 + legend.best.length * CHARACTER_WIDTH;
    parts.push(
      `<path class="trial none" d="M${round(x)},${y - 4}h24"/>`,
      text(x + 30, y, escapeXml(legend.none)),
    );
  }
  return parts;
}
