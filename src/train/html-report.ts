/** Reports as one HTML file: no script, no network, readable on light and dark screens and on paper. */
import { CHART_STYLE } from './chart.js';
import { escapeXml } from './svg.js';

export { escapeXml as escapeHtml } from './svg.js';

/** A part of a report. */
export interface HtmlSection {
  /** Plain text. */
  readonly title: string;
  /** HTML: from `htmlTable`, the charts, `htmlText`, or escaped by the caller. */
  readonly body: string;
}

/** A page. */
export interface HtmlReport {
  readonly title: string;
  /** Plain text under the title. */
  readonly lead?: string;
  readonly sections: readonly HtmlSection[];
}

const STYLE = `
:root { color-scheme: light dark; }
body { max-width: 66rem; margin: 2rem auto; padding: 0 1rem; font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; color: #26251f; background: #f7f6f2; }
h1 { font-size: 1.7rem; margin-bottom: 0.3rem; }
h2 { font-size: 1.2rem; margin-top: 2.4rem; }
.lead { color: #52514e; margin-top: 0; }
table { border-collapse: collapse; margin: 0.8rem 0; }
.wide { overflow-x: auto; }
th, td { padding: 0.25rem 0.8rem; text-align: right; border-bottom: 1px solid #dddbd3; vertical-align: top; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
td { font-variant-numeric: tabular-nums; }
td.text, th.text { text-align: left; }
.small { color: #66655f; font-size: 0.85em; white-space: nowrap; }
.warning { border-left: 4px solid #d0551f; padding-left: 0.8rem; }
.charts { display: flex; flex-wrap: wrap; align-items: flex-start; gap: 1rem; }
svg { max-width: 100%; height: auto; }
@media (prefers-color-scheme: dark) {
  body { color: #e4e2da; background: #121211; }
  .lead { color: #b3b1a8; }
  th, td { border-color: #34332f; }
  .small { color: #a09e95; }
}`;

/** A whole HTML file. */
export function htmlReport({ title, lead, sections }: HtmlReport): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeXml(title)}</title>
<style>${STYLE}${CHART_STYLE}
</style>
</head>
<body>
<h1>${escapeXml(title)}</h1>
${lead === undefined ? '' : `<p class="lead">${escapeXml(lead)}</p>\n`}${sections
  .map((section) => `<section>\n<h2>${escapeXml(section.title)}</h2>\n${section.body}\n</section>`)
  .join('\n')}
</body>
</html>
`;
}

/** A cell: text or a number, with a smaller line below it where given. */
export type HtmlCell = string | number | { readonly value: string | number; readonly small: string };

/** A table; numbers are written with thousands apart, everything is escaped. */
export function htmlTable(columns: readonly string[], rows: readonly (readonly HtmlCell[])[]): string {
  // Names stand above what they name: text to the left, numbers to the right.
  const isText = (c: number): boolean => rows.length > 0 && rows.every((row) => typeof row[c] === 'string');
  const head = columns
    .map((name, c) => `<th${isText(c) ? ' class="text"' : ''}>${escapeXml(name)}</th>`)
    .join('');
  const lines = rows.map((row) => `<tr>${row.map(cellOf).join('')}</tr>`);
  return `<div class="wide"><table>\n<thead><tr>${head}</tr></thead>\n<tbody>\n${lines.join('\n')}\n</tbody>\n</table></div>`;
}

function cellOf(cell: HtmlCell): string {
  if (typeof cell === 'string') return `<td class="text">${escapeXml(cell)}</td>`;
  if (typeof cell === 'number') return `<td>${formatNumber(cell)}</td>`;
  const value = typeof cell.value === 'number' ? formatNumber(cell.value) : escapeXml(cell.value);
  return `<td>${value}<br><span class="small">${escapeXml(cell.small)}</span></td>`;
}

/** A paragraph of plain text. */
export function htmlText(text: string, { warning = false }: { warning?: boolean } = {}): string {
  return `<p${warning ? ' class="warning"' : ''}>${escapeXml(text)}</p>`;
}

/** Charts side by side where the screen has room. */
export function htmlCharts(charts: readonly string[]): string {
  return `<div class="charts">\n${charts.join('')}</div>`;
}

/** Whole numbers with thousands apart, others with three digits after the point. */
export function formatNumber(value: number): string {
  if (Number.isNaN(value)) return '–';
  if (Number.isInteger(value)) return value.toLocaleString('en');
  return value.toLocaleString('en', { minimumFractionDigits: 3, maximumFractionDigits: 3 });
}
