/** The tools of `dawngrad qa`, as a user runs them. */
import { spawn } from 'node:child_process';
import { lstat, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { addQACommand } from '../../src/cli/qa.js';
import { DataError } from '../../src/device/errors.js';

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
const FIXTURE = (name: string) => fileURLToPath(new URL(`../fixtures/advice/${name}`, import.meta.url));
let folder: string;
const at = (name: string) => join(folder, name);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'dawngrad-qa-cli-'));
});
beforeEach(() => {
  vi.restoreAllMocks();
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Runs a tool within this process, which is much faster than another one. */
async function qa(...args: string[]): Promise<{ out: string; err: string[] }> {
  const result = { out: '', err: [] as string[] };
  const stdout = vi.spyOn(process.stdout, 'write').mockImplementation(((text: string, done: () => void) => {
    result.out += text;
    done?.();
    return true;
  }) as never);
  const stderr = vi.spyOn(console, 'error').mockImplementation((line: string) => {
    result.err.push(line);
  });
  const program = new Command().exitOverride().configureOutput({ writeErr: () => {} });
  addQACommand(program);
  try {
    await program.parseAsync(['qa', ...args], { from: 'user' });
  } finally {
    stdout.mockRestore();
    stderr.mockRestore();
  }
  return result;
}

const file = async (name: string, text: string): Promise<string> => {
  await writeFile(at(name), text);
  return at(name);
};
const read = (path: string) => readFile(path, 'utf8');
const rows = (...pairs: [string, string, object?][]) =>
  pairs.map(([question, answer, more]) => `${JSON.stringify({ ...more, question, answer })}\n`).join('');

/** As a process of its own, with standard input. */
function spawnQA(args: string[], input: string): Promise<{ code: number | null; out: string; err: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['--import', import.meta.resolve('tsx'), MAIN, 'qa', ...args]);
    const outcome = { code: null as number | null, out: '', err: '' };
    child.stdout.setEncoding('utf8').on('data', (s: string) => (outcome.out += s));
    child.stderr.setEncoding('utf8').on('data', (s: string) => (outcome.err += s));
    child.on('error', reject);
    child.on('close', (code) => resolve({ ...outcome, code }));
    child.stdin.end(input);
  });
}

describe('from a forum page to training data', () => {
  it('cleans, labels, deduplicates, splits', async () => {
    const cleaned = at('cleaned.txt');
    const { err } = await qa('clean', FIXTURE('messy-forum.txt'), '--out', cleaned, '--show');
    expect(err[0]).toBe(
      `clean: removed 6 × times, 8 × buttons, 5 × names from ${FIXTURE('messy-forum.txt')}`,
    );
    expect(err).toContain('  line 14: buttons "Reply"');
    const labelled = at('labelled.txt');
    await qa('label', cleaned, '--out', labelled);
    expect(await read(labelled)).toMatch(/^QUESTION: My sister .*\nHow do I .*\n\nANSWER: Tell her/);
    // Once more changes nothing.
    expect((await qa('clean', cleaned)).out).toBe(await read(cleaned));
    expect((await qa('label', labelled)).out).toBe(await read(labelled));

    const twice = at('twice.txt');
    await qa('merge', labelled, labelled, '--out', twice);
    const unique = await qa('dedupe', twice);
    expect(unique.out).toBe(await read(labelled));
    expect(unique.err[0]).toBe(`dedupe: kept 2 of 4 pairs in ${twice}`);
    expect(unique.err[1]).toMatch(/^ {2}line \d+: "Tell her .*…" repeats line 1 exactly$/);

    const split = await qa('split', labelled, '--validation', '0.5', '--test', '0');
    expect(
      split.out
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line).split),
    ).toHaveLength(2);
    expect(split.err[0]).toMatch(/^split: \d pairs to train, \d to validate, 0 to test$/);
  });
});

describe('dawngrad qa', () => {
  it('reads standard input and reports to standard error', async () => {
    const input = 'Q: Why&nbsp;me?\n12 Likes\nA: So.\n';
    const cleaned = await spawnQA(['clean'], input);
    expect(cleaned).toMatchObject({ code: 0, out: 'Q: Why me?\nA: So.\n' });
    expect(cleaned.err).toBe('clean: removed 1 × buttons from standard input\n');
    const failed = await spawnQA(['label', '-'], 'Q: Why?\nA: So.\nQ: Who?');
    expect(failed).toMatchObject({ code: 1, out: '' });
    expect(failed.err).toBe(
      'dawngrad: label: expected an answer after question 2, got none ("Who?"), line 3 of standard input; leave such out with --drop-incomplete\n',
    );
  });

  it('never overwrites its input, by whatever name, unless told to', async () => {
    const path = await file('input.txt', 'a\n12 Likes\nb\n');
    await symlink(path, at('link.txt'));
    for (const out of [path, at('link.txt'), join(folder, '.', 'input.txt')]) {
      await expect(qa('clean', path, '--out', out)).rejects.toThrow(
        new DataError(
          `qa: expected another file than the input ${path} for --out, got ${out}; name another one, or use --in-place where a tool has it`,
        ),
      );
    }
    await expect(qa('clean', path, '--in-place', '--out', at('b.txt'))).rejects.toThrow(
      new DataError('qa: expected either --in-place or --out, got both; leave one out'),
    );
    await expect(qa('clean', '--in-place')).rejects.toThrow(
      new DataError('qa: expected a file to change with --in-place, got standard input'),
    );
    expect(await read(path)).toBe('a\n12 Likes\nb\n');
    await qa('clean', at('link.txt'), '--in-place');
    expect(await read(path)).toBe('a\nb\n');
    expect((await lstat(at('link.txt'))).isSymbolicLink()).toBe(true);
    // Nothing half-written stays behind.
    expect((await readdir(folder)).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  });

  it('names file and line of what it cannot read', async () => {
    const path = await file('bad.jsonl', `${rows(['a', 'b'])}{"question": "c"}\n`);
    await expect(qa('stats', path)).rejects.toThrow(
      new DataError(`readQA: expected text in "answer", got none, line 2 of ${path}`),
    );
    await expect(qa('stats', at('none.txt'))).rejects.toThrow(/cannot read .*none\.txt: ENOENT/);
    await expect(qa('clean', path, '--out', join(folder, 'no', 'folder.txt'))).rejects.toThrow(DataError);
  });

  it('explains itself', async () => {
    for (const tool of ['clean', 'label', 'merge', 'dedupe', 'renumber', 'stats', 'split']) {
      const help = vi.spyOn(process.stdout, 'write').mockReturnValue(true);
      const program = new Command().exitOverride();
      addQACommand(program);
      await expect(program.parseAsync(['qa', tool, '--help'], { from: 'user' })).rejects.toThrow(
        'outputHelp',
      );
      const text = help.mock.calls.map(([s]) => s).join('');
      help.mockRestore();
      expect(text).toContain(`qa ${tool} [options]`);
      expect(text).toContain('--out <file>');
    }
  });
});

describe('clean', () => {
  it('cleans JSON lines field by field and keeps the rest', async () => {
    const path = await file(
      'clean.jsonl',
      rows(['Why?\n3 hours ago', 'So &amp; so.', { id: 1 }], ['Who?', '12 Likes', { id: 2 }]),
    );
    const { out, err } = await qa('clean', path);
    expect(out).toBe('{"id":1,"question":"Why?","answer":"So & so."}\n');
    expect(err).toEqual([
      `clean: removed 1 × times, 1 × buttons from ${path}`,
      '  line 2: left out, nothing remains of the answer',
    ]);
    expect((await qa('clean', path, '--keep', 'entities', 'buttons')).out).toBe(
      '{"id":1,"question":"Why?","answer":"So &amp; so."}\n{"id":2,"question":"Who?","answer":"12 Likes"}\n',
    );
  });
});

describe('label', () => {
  it('leaves out what has no answer, if told to, and turns JSON lines into text', async () => {
    const raw = await file('raw.txt', 'Q: Why?\nA: So.\nQ: Who?\n');
    const { out, err } = await qa('label', raw, '--drop-incomplete');
    expect(out).toBe('QUESTION: Why?\n\nANSWER: So.\n');
    expect(err).toEqual([
      `label: 1 pair from ${raw} (short)`,
      '  line 3: left out, expected an answer after question 2, got none ("Who?")',
    ]);
    const path = await file('pairs.jsonl', rows(['Why?', 'So.']));
    expect((await qa('label', path)).out).toBe('QUESTION: Why?\n\nANSWER: So.\n');
  });

  it('says which file it could not tell', async () => {
    const path = await file('prose.txt', 'A text.\n');
    await expect(qa('label', path)).rejects.toThrow(
      `label: expected labels, Q: and A:, tabs, speakers or a first paragraph that ends with a question mark, got "A text."; say what it is with the style; in ${path}`,
    );
  });
});

describe('merge', () => {
  it('joins files of both formats', async () => {
    const a = await file('a.txt', 'QUESTION: a\n\nANSWER: 1\n');
    const b = await file('b.jsonl', rows(['b', '2', { id: 9, split: 'test' }]));
    expect((await qa('merge', a, b)).out).toBe('QUESTION: a\n\nANSWER: 1\n\nQUESTION: b\n\nANSWER: 2\n');
    const out = at('ab.jsonl');
    const { err } = await qa('merge', a, b, '--out', out);
    expect(await read(out)).toBe(
      '{"question":"a","answer":"1"}\n{"id":9,"question":"b","answer":"2","split":"test"}\n',
    );
    expect(err.at(-1)).toBe('merge: 2 pairs in all');
    const posts = await file('posts.txt', '1. x\n\n2. y\n');
    expect((await qa('merge', posts, posts)).out).toBe('1. x\n\n2. y\n\n3. x\n\n4. y\n');
    await expect(qa('merge', a, posts)).rejects.toThrow(
      `merge: expected questions and answers in all files or in none, got other text in ${posts}; label it first with: dawngrad qa label`,
    );
  });
});

describe('dedupe and renumber', () => {
  it('leave 25 of 150 posts, numbered from 1', async () => {
    const post = (i: number) =>
      `I have ${['a cat', 'a dog', 'an owl', 'a mouse', 'no pets'][i % 5]} and ${['two aunts', 'bad dreams', 'a red car', 'long hair', 'much to do'][Math.floor(i / 5)]}.`;
    const text = Array.from(
      { length: 150 },
      (_, i) => `${i + 1}. ${i % 2 ? post(i % 25) : post(i % 25).toUpperCase()}\n`,
    );
    const path = await file('posts150.txt', text.join('\n'));
    const { out, err } = await qa('dedupe', path);
    expect(out).toBe(
      Array.from({ length: 25 }, (_, i) => `${i + 1}. ${i % 2 ? post(i) : post(i).toUpperCase()}\n`).join(
        '\n',
      ),
    );
    expect(err[0]).toBe(`dedupe: kept 25 of 150 posts in ${path}`);
    expect(err.length).toBe(126);
    const edited = await file('edited.txt', out.replace(/^3\. .*\n\n/m, '').replace(/^9\./m, '90.'));
    expect((await qa('renumber', edited)).out).toMatch(/^1\. .*\n\n2\. .*\n\n3\. /);
    expect((await qa('renumber', edited)).err).toEqual([
      `renumber: 22 numbers changed, 24 counted in ${edited}`,
    ]);
  });
});

describe('stats', () => {
  it('prints a table, or JSON', async () => {
    const path = await file(
      'stats.jsonl',
      rows(['Why?', 'So it is.'], ['Why?', 'Nobody knows.'], ['Who?', 'So it is.']),
    );
    const { out } = await qa('stats', path, '--words', '2');
    expect(out).toContain(
      'Pairs       3 of 2 questions\nDuplicates  pairs: none; answers: 1 exact, 0 near\n',
    );
    expect(out).toMatch(/^answers per question +1\.5 +1 /m);
    expect(out).toContain('Frequent    knows 1, nobody 1\n');
    const json = JSON.parse((await qa('stats', path, '--json', '--vocab-size', '300')).out);
    expect(json).toMatchObject({ pairs: 3, questions: 2, duplicateAnswers: { exact: 1, near: 0 } });
    expect(json.answerTokens.total).toBeGreaterThan(10);
  });
});

describe('split', () => {
  it('writes one file or three, and no question twice', async () => {
    const path = await file(
      'many.jsonl',
      rows(
        ...Array.from({ length: 80 }, (_, i): [string, string] => [`Question ${i % 40}?`, `Answer ${i}.`]),
      ),
    );
    await qa('split', path, '--folder', folder, '--validation', '0.3', '--test', '0.2');
    const parts = await Promise.all(
      ['train', 'validation', 'test'].map(
        async (name) => (await read(at(`${name}.txt`))).match(/^QUESTION: .*$/gm)!,
      ),
    );
    expect(parts.flat()).toHaveLength(80);
    expect(new Set(parts.flatMap((part) => [...new Set(part)])).size).toBe(40);
    expect(parts.map((part) => new Set(part).size).reduce((a, b) => a + b)).toBe(40);
    for (const part of parts) expect(part.length).toBeGreaterThan(0);
    await expect(qa('split', at('train.txt'), '--folder', folder)).rejects.toThrow(
      'expected another file than the input',
    );
    await expect(qa('split', path, '--folder', folder, '--out', at('x.jsonl'))).rejects.toThrow(
      'split: expected either --folder or --out, got both; leave one out',
    );
  });
});
