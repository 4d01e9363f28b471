/** `dawngrad explore`, as a user runs it. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { addExploreCommand } from '../../src/cli/explore.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'dawngrad-explore-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** What goes to standard output. */
async function explore(...args: string[]): Promise<string> {
  let out = '';
  const stdout = vi.spyOn(process.stdout, 'write').mockImplementation(((text: string) => {
    out += text;
    return true;
  }) as never);
  const stderr = vi.spyOn(console, 'error').mockImplementation(() => {});
  const program = new Command().exitOverride().configureOutput({ writeErr: () => {} });
  addExploreCommand(program);
  try {
    await program.parseAsync(['explore', ...args], { from: 'user' });
  } finally {
    stdout.mockRestore();
    stderr.mockRestore();
  }
  return out;
}

it('summarises a file and writes a page', async () => {
  const data = join(folder, 'mails.jsonl');
  const mails = Array.from({ length: 12 }, (_, i) => ({
    body: i % 2 ? `win money now number ${'x'.repeat(i)}` : `see you at the meeting of ${'y'.repeat(i + 1)}`,
    kind: i % 2 ? 'spam' : 'ham',
  }));
  await writeFile(data, mails.map((mail) => `${JSON.stringify(mail)}\n`).join(''));
  const html = join(folder, 'report.html');
  const out = await explore(data, '--text', 'body', '--label', 'kind', '--positive', 'spam', '--html', html);
  expect(out).toContain(`Rows        12 of ${data}; text from body, class from kind`);
  expect(out).toContain('12: 6 of class 1 (50.0 %), 6 of class 0; 12 groups');
  expect(out).toMatch(/^Class 1 {5}.*money/m);
  const page = await readFile(html, 'utf8');
  expect(page.startsWith('<!doctype html>')).toBe(true);
  expect(page).toContain('Typical of a class');
  await expect(explore(data, '--text', 'subject', '--label', 'kind')).rejects.toThrow(
    'expected a column subject',
  );
  await expect(explore(join(folder, 'none.csv'))).rejects.toThrow('cannot read');
});
