/** `dawngrad report`, as a user runs it. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { addReportCommand } from '../../src/cli/report.js';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'dawngrad-report-'));
  for (const name of ['one', 'two']) {
    mkdirSync(join(folder, name));
    writeFileSync(join(folder, name, 'config.json'), JSON.stringify({ name }));
    writeFileSync(join(folder, name, 'metrics.jsonl'), '{"step":1,"loss":2}\n');
  }
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function report(...args: string[]): Promise<string[]> {
  const lines: string[] = [];
  const log = vi.spyOn(console, 'log').mockImplementation((text: string) => void lines.push(text));
  const program = new Command().exitOverride().configureOutput({ writeErr: () => {} });
  addReportCommand(program);
  await program.parseAsync(['report', ...args], { from: 'user' }).finally(() => log.mockRestore());
  return lines;
}

it('writes a page into each run, or where it is told', async () => {
  const [one, two] = ['one', 'two'].map((name) => join(folder, name));
  expect(await report(one, two)).toEqual([join(one, 'report.html'), join(two, 'report.html')]);
  expect(readFileSync(join(two, 'report.html'), 'utf8')).toContain('<h1>Run two</h1>');
  const page = join(folder, 'page.html');
  rmSync(join(one, 'report.html'));
  expect(await report(one, '--html', page)).toEqual([page]);
  expect(existsSync(join(one, 'report.html'))).toBe(false);
  expect(readFileSync(page, 'utf8')).toContain('<h1>Run one</h1>');
  await expect(report(one, two, '--html', page)).rejects.toThrow('expected one run beside --html, got 2');
  await expect(report(one, '--html', join(folder, 'no', 'x.html'))).rejects.toThrow('report: cannot write');
  await expect(report(join(folder, 'none'))).rejects.toThrow('no such folder');
});

it('goes on where one of several folders is no run, and tells', async () => {
  const told = vi.spyOn(console, 'error').mockImplementation(() => {});
  try {
    const two = join(folder, 'two');
    expect(await report(join(folder, 'none'), two)).toEqual([join(two, 'report.html')]);
    expect(told.mock.calls).toEqual([[expect.stringMatching(/^dawngrad: .*none: no such folder$/)]]);
    expect(process.exitCode).toBe(1);
  } finally {
    process.exitCode = undefined;
    told.mockRestore();
  }
});
