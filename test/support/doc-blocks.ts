/** Code blocks of Markdown files, and the modules that they make. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url)).replace(/[/\\]$/, '');

/** A fenced block. Lines count from 1. */
export interface Block {
  readonly lang: string;
  /** Words after the language, e.g. `no-run`. */
  readonly flags: readonly string[];
  /** Line of the first line of code. */
  readonly line: number;
  readonly code: readonly string[];
}

export interface Page {
  /** Path from the root of the repository. */
  readonly file: string;
  readonly lines: readonly string[];
  readonly blocks: readonly Block[];
}

/** README.md and every page of docs/, generated ones aside. */
export function readPages(): Page[] {
  const guide = (readdirSync(join(ROOT, 'docs'), { recursive: true }) as string[])
    .filter((f) => f.endsWith('.md') && !f.startsWith('api'))
    .map((f) => join('docs', f));
  return ['README.md', ...guide.sort()].map((file) => readPage(join(ROOT, file)));
}

/** Reads a page. @throws Error for a block that does not end */
export function readPage(path: string): Page {
  const lines = readFileSync(path, 'utf8').split('\n');
  const file = relative(ROOT, path);
  const blocks: Block[] = [];
  for (let i = 0; i < lines.length; i++) {
    const fence = /^```(\S*)\s*(.*)$/.exec(lines[i]);
    if (!fence) continue;
    const end = lines.indexOf('```', i + 1);
    if (end < 0) throw new Error(`${file}:${i + 1}: this code block does not end`);
    blocks.push({
      lang: fence[1],
      flags: fence[2].split(/\s+/).filter(Boolean),
      line: i + 2,
      code: lines.slice(i + 1, end),
    });
    i = end;
  }
  return { file, lines, blocks };
}

export function isCode({ lang }: Block): boolean {
  return lang === 'ts' || lang === 'js';
}

export function runs(block: Block): boolean {
  return isCode(block) && !block.flags.includes('no-run');
}

/** The blocks as one module whose lines are those of the page: what is no code is left blank. */
export function moduleText(page: Page, blocks: readonly Block[]): string {
  const out = new Array<string>(page.lines.length).fill('');
  for (const { line, code } of blocks) out.splice(line - 1, code.length, ...code);
  return out.join('\n');
}

/** What a `console.log` must print, as the comments `// → …` after it say. */
export interface Expectation {
  /** Line of the call. */
  readonly line: number;
  readonly lines: readonly string[];
}

const CALL = /\bconsole\.log\(/;
const PRINTED = /\/\/ →(?: (.*))?$/;

/**
 * Each call of `console.log` with the comments that follow it, up to the next call.
 *
 * @throws Error for a comment without a call, and for a call without a comment
 */
export function expectations(page: Page, blocks: readonly Block[]): Expectation[] {
  const all: { line: number; lines: string[] }[] = [];
  for (const { line, code } of blocks) {
    let call: { line: number; lines: string[] } | null = null;
    code.forEach((text, i) => {
      if (CALL.test(text)) all.push((call = { line: line + i, lines: [] }));
      const printed = PRINTED.exec(text);
      if (!printed) return;
      if (!call) throw new Error(`${page.file}:${line + i}: a comment '// →' belongs after a console.log`);
      call.lines.push(printed[1] ?? '');
    });
  }
  const silent = all.find((e) => e.lines.length === 0);
  if (silent) throw new Error(`${page.file}:${silent.line}: say what this prints in a comment '// → …'`);
  return all;
}

/** The module with every `console.log(` reporting its line. */
export function instrument(text: string): string {
  return text
    .split('\n')
    .map((line, i) => line.replaceAll(new RegExp(CALL, 'g'), `__printed(${i + 1}, `))
    .join('\n');
}

/** Whether a line is what a comment says; `…` in the comment stands for anything. */
export function prints(expected: string, actual: string): boolean {
  const parts = expected.split('…').map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${parts.join('.*')}$`).test(actual.trimEnd());
}
