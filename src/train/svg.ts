/** What plots share: their frame, their texts and lines, their colours on light and on dark pages. */

/** The look of titles, axes and grids. Colours have at least 3:1 contrast on both grounds. */
export const PLOT_STYLE = `
.dawngrad-plot { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
.dawngrad-plot .ground { fill: #ffffff; }
.dawngrad-plot text { fill: #52514e; }
.dawngrad-plot .title { fill: #0b0b0b; font-size: 16px; font-weight: 600; }
.dawngrad-plot .tick { font-variant-numeric: tabular-nums; }
.dawngrad-plot .grid { stroke: #e6e5e0; }
.dawngrad-plot .axis { stroke: #b5b3ab; }
@media (prefers-color-scheme: dark) {
  .dawngrad-plot .ground { fill: #1a1a19; }
  .dawngrad-plot text { fill: #c3c2b7; }
  .dawngrad-plot .title { fill: #ffffff; }
  .dawngrad-plot .grid { stroke: #2f2f2d; }
  .dawngrad-plot .axis { stroke: #62615b; }
}`;

/** No fonts to measure with here: the width of a character of 12 pixels, on average. */
export const CHARACTER_WIDTH = 6.4;

/** The outside of a plot. */
export interface SvgFrame {
  title: string;
  width: number;
  height: number;
  /** Where the body's origin lies. */
  margin: { left: number; top: number };
  /** Rules for this plot; none where the page has them. */
  style?: string;
  /** Between the title and the body. */
  head?: readonly string[];
  body: readonly string[];
}

/** A plot of given parts; empty parts are left out. */
export function svgFrame({ title, width, height, margin, style, head = [], body }: SvgFrame): string {
  const name = escapeXml(title);
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" class="dawngrad-plot" role="img" aria-label="${name}" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}">`,
    `<title>${name}</title>`,
    style === undefined ? '' : `<style>${style}\n</style>`,
    `<rect class="ground" width="${width}" height="${height}" rx="6"/>`,
    text(16, 30, name, 'class="title"'),
    ...head,
    `<g transform="translate(${margin.left} ${margin.top})">`,
    ...body,
    '</g>',
    '</svg>',
  ]
    .filter((part) => part !== '')
    .join('\n')}\n`;
}

/** A straight line. */
export function rule(name: string, x1: number, y1: number, x2: number, y2: number): string {
  return `<line class="${name}" x1="${round(x1)}" y1="${round(y1)}" x2="${round(x2)}" y2="${round(y2)}"/>`;
}

/** A text; `content` is escaped by the caller. */
export function text(x: number, y: number, content: string, attributes = ''): string {
  return `<text x="${round(x)}" y="${round(y)}"${attributes && ` ${attributes}`}>${content}</text>`;
}

/** Tenths of a pixel are enough. */
export function round(value: number): number {
  return Math.round(value * 10) / 10;
}

/** Text for XML and HTML, in content and in attributes. */
export function escapeXml(raw: string): string {
  // XML 1.0 allows no other control characters, escaped or not.
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is removed
  const legal = raw.replace(/[\u0000-\u0008\u000B\u000C\u000E-\u001F\uFFFE\uFFFF]|\p{Surrogate}/gu, '\uFFFD');
  return legal
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}
