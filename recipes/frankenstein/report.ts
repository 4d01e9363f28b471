/** Tables for the terminal and the README, and figures. */
import { CHART_STYLE, type ChartSeries, type CurvesOptions, curvesSvg } from '../../src/train/chart.js';

/** Rows as a Markdown table; columns of numbers are set right. */
export function markdown(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const isNumber = (column: number): boolean =>
    rows.every((row) => /^(?:[-–−]|[−\d.,% ]+)?$/.test(row[column].replaceAll('*', '')));
  const cells = [head, head.map((_, i) => (isNumber(i) ? '---:' : '---')), ...rows];
  const widths = head.map((_, i) => Math.max(...cells.map((row) => row[i].length)));
  const line = (row: readonly string[]): string =>
    `| ${row.map((cell, i) => (isNumber(i) && !cell.startsWith('---') ? cell.padStart(widths[i]) : cell.padEnd(widths[i]))).join(' | ')} |`;
  return cells.map(line).join('\n');
}

export const fixed = (x: number, digits = 4): string => (Number.isFinite(x) ? x.toFixed(digits) : '–');
export const percent = (x: number, digits = 2): string =>
  Number.isFinite(x) ? `${(100 * x).toFixed(digits)} %` : '–';
export const count = (n: number): string => n.toLocaleString('en');

/** Curves as a file of their own, with their style. */
export function figure(options: CurvesOptions): string {
  // What lies outside is drawn at the border.
  const [low, high] = options.yDomain ?? [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];
  const series = options.series.map((s) => ({
    ...s,
    points: s.points.map((p) => ({ ...p, y: Math.min(high, Math.max(low, p.y)) })),
  }));
  return curvesSvg({ width: 720, height: 400, ...options, series }).replace(
    /<rect class="ground"/,
    `<style>${CHART_STYLE}\n</style>\n$&`,
  );
}

/** Losses of single steps as means over as many points as a plot can show. */
export function smoothed(name: string, losses: readonly number[], points = 120): ChartSeries {
  const size = Math.max(1, Math.floor(losses.length / points));
  const means: { x: number; y: number }[] = [];
  for (let i = 0; i + size <= losses.length; i += size) {
    const part = losses.slice(i, i + size);
    means.push({ x: i + size / 2, y: part.reduce((a, b) => a + b, 0) / size });
  }
  return { name, points: means };
}

/** A text as one line of a table. */
export function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ').replaceAll('|', '\\|').trim();
}
