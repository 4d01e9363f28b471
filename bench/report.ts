/** Tables on standard output, and results as JSON with what they were measured on. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, platform, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Options } from './options.js';

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1];
}

/** The first column is text, the others are aligned to the right. */
export function table(
  title: string,
  head: readonly string[],
  rows: readonly (readonly string[])[],
  notes: readonly string[] = [],
): void {
  const widths = head.map((h, i) => Math.max(h.length, ...rows.map((r) => r[i].length)));
  const line = (cells: readonly string[]): string =>
    cells.map((c, i) => (i === 0 ? c.padEnd(widths[i]) : c.padStart(widths[i]))).join('  ');
  console.log(`\n${title}\n${line(head)}\n${widths.map((w) => '─'.repeat(w)).join('  ')}`);
  for (const r of rows) console.log(line(r));
  for (const note of notes) console.log(`  ${note}`);
}

/** Three significant digits, never in scientific notation. */
export function digits(value: number): string {
  if (value >= 1000) return value.toFixed(0);
  return value.toPrecision(3);
}

function versionOf(path: string): string {
  return JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8')).version;
}

function revision(): string | null {
  try {
    const run = (...args: string[]) => execFileSync('git', args, { encoding: 'utf8', stdio: 'pipe' }).trim();
    return run('rev-parse', '--short', 'HEAD') + (run('status', '--porcelain', 'src') ? ' and changes' : '');
  } catch {
    return null;
  }
}

/** The machine, in one line. */
export function machine(): string {
  const cores = cpus();
  return `${cores[0]?.model.trim() ?? 'unknown CPU'}, ${cores.length} cores, ${Math.round(totalmem() / 2 ** 30)} GiB, ${platform()}`;
}

/** What results of a run were measured on. */
export function environment(): Record<string, unknown> {
  return {
    date: new Date().toISOString(),
    machine: machine(),
    node: process.version,
    dawngrad: versionOf('../package.json'),
    webgpu: versionOf('../node_modules/webgpu/package.json'),
    revision: revision(),
  };
}

/** In the names of results, so that no run overwrites another's. */
const STARTED = new Date().toISOString().slice(0, 16).replace(':', '');

/** Writes results where --json asks for it; without a name, into bench/results by time and device. Returns the file. */
export function save(options: Options, kind: string, results: object, device = 'cpu'): string | null {
  if (!options.json) return null;
  const slug = device
    .toLowerCase()
    .replace(/\(.*?\)/g, '')
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '');
  const folder = fileURLToPath(new URL('results', import.meta.url));
  const file = options.json === true ? join(folder, `${STARTED}-${slug}-${kind}.json`) : options.json;
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `${JSON.stringify({ kind, device, ...environment(), ...results }, null, 1)}\n`);
  return file;
}

/** Saves, and says where. */
export function record(options: Options, kind: string, results: object, device?: string): void {
  const file = save(options, kind, results, device);
  if (file) console.log(`\nWritten to ${file}`);
}
