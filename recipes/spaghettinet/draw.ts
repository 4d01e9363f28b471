/** Pictures: a spaghetti layer as a graph, and curves of what was measured. */
import type { nn } from '../../src/index.js';
import { CHART_STYLE, curvesSvg } from '../../src/train/chart.js';
import { escapeXml, PLOT_STYLE, svgFrame, text } from '../../src/train/svg.js';
import { type DatasetResult, interval, SHARES } from './experiment.js';

const WIDTH = 840;
const HEIGHT = 640;
const RADIUS = 250;
const CENTRE = { x: WIDTH / 2, y: 345 };

const STYLE = `${PLOT_STYLE}
.dawngrad-plot .wire { fill: none; stroke-width: 1; }
.dawngrad-plot .p { stroke: #2a78d6; } .dawngrad-plot .n { stroke: #d0551f; }
.dawngrad-plot .w0 { stroke-opacity: 0.15; } .dawngrad-plot .w1 { stroke-opacity: 0.4; } .dawngrad-plot .w2 { stroke-opacity: 0.85; stroke-width: 1.6; }
.dawngrad-plot .unit { fill: #7d7b74; } .dawngrad-plot .entry { fill: #2f8f5b; } .dawngrad-plot .read { fill: #8659c5; }
@media (prefers-color-scheme: dark) {
  .dawngrad-plot .p { stroke: #4f9bec; } .dawngrad-plot .n { stroke: #ee7c48; }
  .dawngrad-plot .unit { fill: #8f8d85; } .dawngrad-plot .entry { fill: #4cb781; } .dawngrad-plot .read { fill: #a988e0; }
}`;

interface Point {
  readonly x: number;
  readonly y: number;
}

/** A wire to be drawn, from a point to another, and its weight. */
interface Drawn {
  readonly from: Point;
  readonly to: Point;
  readonly weight: number;
  /** 1 through the middle, 0 straight. */
  readonly bend: number;
}

/** Classes of lines by weight: the weaker half is faint, the strongest tenth strong. */
const LEVELS = [0.5, 0.9];

/**
 * A network of one layer: units on a circle, entries on the left and read units on the right, wires as curves, blue for weights above 0
 * and orange for those below.
 */
export async function graphSvg(net: nn.SpaghettiNet, title: string): Promise<string> {
  const layer = net.layers.at(0)!;
  const places = unitPlaces(layer);
  const column = (x: number, count: number): Point[] =>
    Array.from({ length: count }, (_, i) => ({ x, y: CENTRE.y + 320 * ((i + 0.5) / count - 0.5) }));
  const inputs = column(60, net.inFeatures);
  const outputs = column(WIDTH - 60, net.outFeatures);
  const wires: Drawn[] = [];
  const collect = (
    weights: ArrayLike<number>,
    ends: (i: number) => readonly [Point, Point],
    bend: number,
  ): void => {
    for (let i = 0; i < weights.length; i++) {
      const [from, to] = ends(i);
      wires.push({ from, to, weight: weights[i], bend });
    }
  };
  const { entries, tangle, readUnits } = layer;
  collect(await layer.in_weight.data(), (i) => [inputs[entries.sources[i]], places[entries.targets[i]]], 0);
  collect(await layer.tangle_weight.data(), (i) => [places[tangle.sources[i]], places[tangle.targets[i]]], 1);
  const reads = readUnits.length;
  collect(
    await net.head.weight.data(),
    (i) => [places[readUnits[i % reads]], outputs[Math.floor(i / reads)]],
    0,
  );
  const dot = (name: string, { x, y }: Point, r: number, note: string) =>
    `<circle class="${name}" cx="${Math.round(x)}" cy="${Math.round(y)}" r="${r}"><title>${escapeXml(note)}</title></circle>`;
  const kind = (unit: number) =>
    layer.entryUnits.includes(unit) ? 'entry' : readUnits.includes(unit) ? 'read' : 'unit';
  const body = [
    ...wirePaths(wires),
    ...places.map((place, unit) => dot(kind(unit), place, 5, `unit ${unit}`)),
    ...inputs.map((place, i) => dot('entry', place, 7, `input ${i}`)),
    ...outputs.map((place, i) => dot('read', place, 7, `output ${i}`)),
    text(24, CENTRE.y - 180, 'inputs'),
    text(WIDTH - 24, CENTRE.y - 180, 'outputs', 'text-anchor="end"'),
  ];
  const legend = `${layer.units} units, ${net.wires} wires; blue: weight above 0, orange: below; stronger lines: larger weights`;
  return svgFrame({
    title,
    width: WIDTH,
    height: HEIGHT,
    margin: { left: 0, top: 0 },
    style: STYLE,
    head: [text(16, 52, escapeXml(legend))],
    body,
  });
}

/** Entries fill the circle from the left, read units from the right, the others lie between. */
function unitPlaces({ units, entryUnits, readUnits }: nn.SpaghettiLayer): Point[] {
  const rank = (unit: number) => (entryUnits.includes(unit) ? 0 : readUnits.includes(unit) ? 2 : 1);
  const order = Array.from({ length: units }, (_, i) => i).sort((a, b) => rank(a) - rank(b) || a - b);
  const places = new Array<Point>(units);
  // From the leftmost place on, above and below in turn.
  order.forEach((unit, i) => {
    const side = i % 2 === 0 ? 1 : -1;
    const angle = Math.PI - side * Math.PI * ((i + 0.5) / units);
    places[unit] = { x: CENTRE.x + RADIUS * Math.cos(angle), y: CENTRE.y + RADIUS * Math.sin(angle) };
  });
  return places;
}

/** One path for all wires of a sign and strength: small files. */
function wirePaths(wires: readonly Drawn[]): string[] {
  const sizes = wires.map(({ weight }) => Math.abs(weight)).sort((a, b) => a - b);
  const bounds = LEVELS.map((level) => sizes[Math.floor(level * (sizes.length - 1))]);
  const paths = new Map<string, string>();
  for (const { from, to, weight, bend } of wires) {
    const level = bounds.filter((bound) => Math.abs(weight) > bound).length;
    const name = `wire ${weight < 0 ? 'n' : 'p'} w${level}`;
    const r = Math.round;
    const control = {
      x: (from.x + to.x) / 2 + 0.7 * bend * (CENTRE.x - (from.x + to.x) / 2),
      y: (from.y + to.y) / 2 + 0.7 * bend * (CENTRE.y - (from.y + to.y) / 2),
    };
    const line =
      bend === 0
        ? `M${r(from.x)} ${r(from.y)}L${r(to.x)} ${r(to.y)}`
        : `M${r(from.x)} ${r(from.y)}Q${r(control.x)} ${r(control.y)} ${r(to.x)} ${r(to.y)}`;
    paths.set(name, (paths.get(name) ?? '') + line);
  }
  return [...paths]
    .sort(([a], [b]) => a.slice(-1).localeCompare(b.slice(-1)))
    .map(([name, d]) => `<path class="${name}" d="${d}"/>`);
}

/** Accuracy over the share of wires cut, a curve per kind with its interval over seeds. */
export function cutCurvesSvg({ name, kinds }: DatasetResult): string {
  const svg = curvesSvg({
    title: `${name}: accuracy with wires cut`,
    xLabel: '% of all wires cut',
    yLabel: '% right, test',
    width: 620,
    series: kinds.map(({ kind, cut }) => ({
      name: kind,
      marks: true,
      points: cut.map((values, s) => {
        const { mean, half } = interval(values);
        const y = 100 * mean;
        const note = `${kind}, ${100 * SHARES[s]} % cut: ${y.toFixed(1)} %`;
        return Number.isFinite(half)
          ? { x: 100 * SHARES[s], y, interval: [y - 100 * half, y + 100 * half] as const, note }
          : { x: 100 * SHARES[s], y, note };
      }),
    })),
    yDomain: [Math.max(0, 100 * Math.min(...kinds.flatMap(({ cut }) => cut.flat())) - 5), 100],
  });
  // The file stands alone: it brings its own style.
  return svg.replace('</title>', `</title>\n<style>${CHART_STYLE}\n</style>`);
}
