/** Runs side by side, as text. */
import { formatDuration } from './progress.js';
import type { FoundRuns, Run } from './runs.js';

/** Names of the settings in which runs differ, and those that only some of them have. */
export function differingSettings(runs: readonly Run[]): string[] {
  const names = new Set(runs.flatMap(({ settings }) => Object.keys(settings)));
  names.delete('name');
  return [...names].filter((name) => {
    const values = new Set(runs.map(({ settings }) => JSON.stringify(settings[name])));
    return values.size > 1;
  });
}

/** A list of runs, with the settings in which those of one kind differ; then the folders that are none. */
export function formatList({ runs, foreign }: FoundRuns): string {
  const rows = runs.map((run) => {
    const alike = runs.filter(({ kind }) => kind === run.kind);
    const settings = differingSettings(alike).filter((name) => name in run.settings);
    return [
      run.name,
      run.kind,
      run.steps === null ? number(run.step) : `${number(run.step)}/${number(run.steps)}`,
      run.state,
      shown(run.loss),
      run.best ? `${shown(run.best.validation)} at ${number(run.best.step)}` : '–',
      run.seconds === null ? '–' : formatDuration(1000 * run.seconds),
      when(run.modified),
      shorten(settings.map((name) => `${name} ${setting(run.settings[name])}`).join(', '), 80),
    ];
  });
  const head = [
    'run',
    'kind',
    'step',
    'state',
    'loss',
    'best validation',
    'time',
    'written',
    'settings that differ',
  ];
  const notes = [
    ...runs.flatMap((run) => run.problems.map((problem) => `${run.name}: ${problem}`)),
    ...foreign.map(({ name, why }) => `${name}: ${why}`),
  ];
  const parts = [rows.length > 0 ? textTable([head, ...rows]) : 'No runs.'];
  if (notes.length > 0)
    parts.push(`\nNot read, or not whole:\n${notes.map((note) => `  ${note}`).join('\n')}`);
  return parts.join('\n');
}

/** What is compared: a name and a value for each run, absent ones undefined. */
export interface ComparedRow {
  readonly name: string;
  readonly values: readonly unknown[];
}

/** The settings in which runs differ, and their results. */
export function compareRuns(runs: readonly Run[]): { settings: ComparedRow[]; results: ComparedRow[] } {
  const results = runs.map((run) => ({
    state: run.state,
    step: run.step,
    loss: run.loss ?? undefined,
    'best validation': run.best?.validation,
    'best at step': run.best?.step,
    seconds: run.seconds === null ? undefined : Math.round(run.seconds),
    ...resultNumbers(run.result),
  }));
  const names = [...new Set(results.flatMap((r) => Object.keys(r)))];
  return {
    settings: differingSettings(runs).map((name) => ({ name, values: runs.map((r) => r.settings[name]) })),
    results: names
      .map((name) => ({ name, values: results.map((r) => (r as Record<string, unknown>)[name]) }))
      .filter(({ values }) => values.some((value) => value !== undefined)),
  };
}

/** Parts of results that are no figures of merit, or far too many. */
const LEFT_OUT =
  /^(seconds|step|best|stopped)$|(^|\.)(parts|confusion|against|thresholds|samples|statistics|findings|folds|notes|low|high|resamples|undefined_)(\.|$)/;

/** All numbers of a result by dotted names; items of lists by their `name`, intervals by their value. */
function resultNumbers(result: Run['result']): Record<string, number> {
  const numbers: Record<string, number> = {};
  const visit = (value: unknown, name: string): void => {
    if (LEFT_OUT.test(name)) return;
    if (typeof value === 'number') numbers[name] = value;
    if (typeof value !== 'object' || value === null) return;
    const { value: middle, low } = value as { value?: unknown; low?: unknown };
    if (typeof middle === 'number' && low !== undefined) numbers[name] = middle;
    else if (Array.isArray(value)) {
      for (const item of value) if (typeof item?.name === 'string') visit(item, `${name}.${item.name}`);
    } else for (const [key, inner] of Object.entries(value)) visit(inner, name ? `${name}.${key}` : key);
  };
  visit(result, '');
  return numbers;
}

/** A table of `compareRuns`, runs as columns. */
export function formatComparison(runs: readonly Run[]): string {
  const { settings, results } = compareRuns(runs);
  const row = ({ name, values }: ComparedRow) => [
    name,
    ...values.map((value) => shorten(setting(value), 40)),
  ];
  const blank = ['', ...runs.map(() => '')];
  return textTable([
    ['', ...runs.map(({ name }) => name)],
    [settings.length > 0 ? 'Settings that differ' : 'No settings differ', ...blank.slice(1)],
    ...settings.map(row),
    blank,
    ['Results', ...blank.slice(1)],
    ...results.map(row),
  ]);
}

/** A setting or a result as a word. */
export function setting(value: unknown): string {
  if (value === undefined || value === null) return '–';
  if (typeof value === 'number') return Number.isInteger(value) ? String(value) : shown(value);
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** Columns as wide as their widest cell. */
export function textTable(rows: readonly (readonly string[])[]): string {
  const widths = rows[0].map((_, c) => Math.max(...rows.map((row) => row[c].length)));
  return rows
    .map((row) =>
      row
        .map((cell, c) => cell.padEnd(widths[c]))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

const number = (x: number): string => x.toLocaleString('en');

function shown(x: number | null): string {
  if (x === null) return '–';
  if (!Number.isFinite(x)) return 'not finite';
  return Math.abs(x) >= 1e-3 && Math.abs(x) < 1e5 ? String(Number(x.toFixed(4))) : x.toExponential(2);
}

function shorten(text: string, most: number): string {
  return text.length <= most ? text : `${text.slice(0, most - 1)}…`;
}

/** To the minute, in local time. */
function when(date: Date): string {
  const two = (n: number) => String(n).padStart(2, '0');
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${two(date.getHours())}:${two(date.getMinutes())}`;
}
