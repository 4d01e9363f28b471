/** `dawngrad qa`: tools for text of questions and answers. Results go to --out or standard output, reports to standard error. */
import { join } from 'node:path';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { excerpt, formatAllQA, type QAPair, type QAProblem, splitQA } from '../data/qa.js';
import { CLEANINGS, type Cleaning, cleanText, type Removed } from '../data/qa-clean.js';
import { dedupeTexts } from '../data/qa-dedupe.js';
import { LABEL_STYLES, labelQA, type LabelStyle } from '../data/qa-label.js';
import { renumber } from '../data/qa-posts.js';
import {
  formatDocument,
  isJsonLines,
  parseDocument,
  parseQARecords,
  type QADocument,
  type QARecord,
} from '../data/qa-records.js';
import { statsQA } from '../data/qa-stats.js';
import { DataError } from '../device/errors.js';
import { integer, number } from './options.js';
import { type OutputFlags, readInput, readInputs, refuseInput, writeOutput } from './qa-files.js';
import { formatStats } from './qa-report.js';

const OUT = ['--out <file>', 'write to this file, at once or not at all; default: standard output'] as const;
const IN_PLACE = ['--in-place', 'write over the input'] as const;
const NO_NUMBERS = { question: false, answer: false } as const;
const FILE = 'a file; without one or for -, standard input';

/** `dawngrad qa` with its tools. */
export function addQACommand(program: Command): void {
  const qa = program
    .command('qa')
    .description(
      'tools for texts of questions and answers: clean, label, merge, dedupe, renumber, stats, split',
    )
    .addHelpText(
      'after',
      `
Every tool reads files or standard input and writes to --out or standard output; what it did goes to standard error.
Questions and answers are either text (QUESTION: …, a blank line, ANSWER: …) or JSON lines with "question" and "answer".

Examples:
  $ dawngrad qa clean posts.txt | dawngrad qa label --out labelled.txt
  $ dawngrad qa dedupe labelled.txt --out unique.txt
  $ dawngrad qa stats unique.txt
  $ dawngrad qa <tool> --help`,
    );
  addClean(qa);
  addLabel(qa);
  addMerge(qa);
  addDedupe(qa);
  addRenumber(qa);
  addStats(qa);
  addSplit(qa);
}

function addClean(qa: Command): void {
  qa.command('clean')
    .description(
      'remove time stamps, buttons, likes, user names and HTML entities; cleaning twice changes nothing',
    )
    .argument('[file]', FILE)
    .option(...OUT)
    .option(...IN_PLACE)
    .addOption(new Option('--keep <kinds...>', 'what to leave alone').choices([...CLEANINGS]))
    .option('--show', 'name every line that goes')
    .action(async (file: string | undefined, flags: OutputFlags & { keep?: Cleaning[]; show?: boolean }) => {
      const input = await readInput(file, flags);
      const { text, removed, emptied } = clean(input.text, input.source, flags.keep ?? []);
      await writeOutput(text, flags, [input]);
      const kinds = count(removed.map(({ kind }) => kind));
      say(`clean: removed ${kinds === '' ? 'nothing' : kinds} from ${input.source}`);
      for (const { line, what } of emptied) say(`  line ${line}: left out, nothing remains of the ${what}`);
      if (flags.show)
        for (const { line, kind, text } of removed) say(`  line ${line}: ${kind} ${excerpt(text, 80)}`);
    });
}

interface Cleaned {
  text: string;
  removed: Removed[];
  /** JSON lines without a question or an answer by now. */
  emptied: { line: number; what: string }[];
}

function clean(text: string, source: string, keep: Cleaning[]): Cleaned {
  if (!isJsonLines(text, source)) return { ...cleanText(text, { keep }), emptied: [] };
  const removed: Removed[] = [];
  const emptied: Cleaned['emptied'] = [];
  const records: QARecord[] = [];
  for (const record of parseQARecords(text, source)) {
    const field = (value: string): string => {
      const cleaned = cleanText(value, { keep });
      removed.push(...cleaned.removed.map((part) => ({ ...part, line: record.line })));
      return cleaned.text.trimEnd();
    };
    const question = field(record.question);
    const answer = field(record.answer);
    if (question === '' || answer === '')
      emptied.push({ line: record.line, what: question === '' ? 'question' : 'answer' });
    else records.push({ ...record, question, answer });
  }
  return {
    text: formatDocument({ kind: 'pairs', format: 'jsonl', numbered: NO_NUMBERS, records }),
    removed,
    emptied,
  };
}

function addLabel(qa: Command): void {
  qa.command('label')
    .description('put QUESTION: and ANSWER: on raw pairs and transcripts; labelling twice changes nothing')
    .argument('[file]', FILE)
    .option(...OUT)
    .option(...IN_PLACE)
    .addOption(
      new Option(
        '--style <style>',
        'short: Q: and A:; tabs: a pair per line; transcript: speakers; questions: paragraphs with a question mark ask; alternating: paragraphs in turn',
      )
        .choices([...LABEL_STYLES])
        .default('auto'),
    )
    .option('--asker <name>', 'who asks in a transcript; default: who speaks first')
    .option('--drop-incomplete', 'leave out questions without an answer, instead of an error')
    .action(
      async (
        file: string | undefined,
        flags: OutputFlags & { style: LabelStyle; asker?: string; dropIncomplete?: boolean },
      ) => {
        const input = await readInput(file, flags);
        const { pairs, problems, style } = label(input.text, input.source, flags);
        if (problems.length > 0 && !flags.dropIncomplete) {
          throw new DataError(
            `label: ${describeProblems(problems, input.source)}; leave such out with --drop-incomplete`,
          );
        }
        await writeOutput(formatAllQA(pairs), flags, [input]);
        say(`label: ${plural(pairs.length, 'pair')} from ${input.source} (${style})`);
        for (const { line, message } of problems) say(`  line ${line}: left out, ${message}`);
      },
    );
}

function label(
  text: string,
  source: string,
  options: { style: LabelStyle; asker?: string },
): { pairs: QAPair[]; problems: QAProblem[]; style: string } {
  if (isJsonLines(text, source))
    return { pairs: parseQARecords(text, source), problems: [], style: 'JSON lines' };
  try {
    return labelQA(text, options);
  } catch (e) {
    if (!(e instanceof DataError)) throw e;
    throw new DataError(`${e.message.replace(/^labelQA/, 'label')}; in ${source}`, { cause: e });
  }
}

function addMerge(qa: Command): void {
  qa.command('merge')
    .description('join several files into one; pairs as JSON lines where --out ends in .jsonl')
    .argument('<files...>', 'two files or more; - for standard input')
    .option(...OUT)
    .addOption(new Option('--format <format>', 'of the result').choices(['text', 'jsonl']))
    .action(async (files: string[], flags: OutputFlags & { format?: 'text' | 'jsonl' }) => {
      const inputs = await readInputs(files);
      const documents = inputs.map(({ text, source }) => parseDocument(text, source));
      const merged = mergeDocuments(documents, files, flags);
      await writeOutput(formatDocument(merged), flags, inputs);
      for (const [i, document] of documents.entries())
        say(`merge: ${describe(document)} from ${inputs[i].source}`);
      say(`merge: ${describe(merged)} in all`);
    });
}

function mergeDocuments(
  documents: readonly QADocument[],
  files: readonly string[],
  { out = '', format }: { out?: string; format?: 'text' | 'jsonl' },
): QADocument {
  const posts = documents.filter((document) => document.kind === 'posts');
  const pairs = documents.filter((document) => document.kind === 'pairs');
  if (pairs.length === 0) {
    return {
      kind: 'posts',
      numbered: posts.every(({ numbered }) => numbered),
      posts: posts.flatMap((document) => document.posts),
    };
  }
  const odd = documents.findIndex((document) => document.kind === 'posts' && document.posts.length > 0);
  if (odd !== -1) {
    throw new DataError(
      `merge: expected questions and answers in all files or in none, got other text in ${files[odd]}; label it first with: dawngrad qa label`,
    );
  }
  return {
    kind: 'pairs',
    format: format ?? (isJsonLines('', out) ? 'jsonl' : 'text'),
    numbered: {
      question: pairs.every(({ numbered }) => numbered.question),
      answer: pairs.every(({ numbered }) => numbered.answer),
    },
    records: pairs.flatMap(({ records }) => records),
  };
}

function addDedupe(qa: Command): void {
  qa.command('dedupe')
    .description(
      'drop what repeats something before it, exactly or nearly, and say which; numbers are made anew',
    )
    .argument('[file]', `${FILE}: pairs, numbered posts (1. …), or paragraphs`)
    .option(...OUT)
    .option(...IN_PLACE)
    .option(
      '--threshold <similarity>',
      'share of common 5-character runs (Jaccard) from which texts count as one; 1: exact duplicates only',
      number(0.01, 1),
      0.6,
    )
    .addOption(
      new Option('--by <what>', 'what to compare of pairs')
        .choices(['pair', 'question', 'answer'])
        .default('pair'),
    )
    .action(
      async (
        file: string | undefined,
        flags: OutputFlags & { threshold: number; by: 'pair' | 'question' | 'answer' },
      ) => {
        const input = await readInput(file, flags);
        const document = parseDocument(input.text, input.source);
        const { by, threshold } = flags;
        const items = document.kind === 'posts' ? document.posts : document.records;
        const texts =
          document.kind === 'posts'
            ? document.posts.map(({ text }) => [text])
            : document.records.map((pair) => (by === 'pair' ? [pair.question, pair.answer] : [pair[by]]));
        const { kept, dropped } = dedupeTexts(texts, { threshold });
        const left: QADocument =
          document.kind === 'posts'
            ? { ...document, posts: kept.map((i) => document.posts[i]) }
            : { ...document, records: kept.map((i) => document.records[i]) };
        await writeOutput(formatDocument(left), flags, [input]);
        say(`dedupe: kept ${kept.length} of ${describe(document)} in ${input.source}`);
        for (const { index, of, reason, similarity } of dropped) {
          const why = reason === 'exact' ? 'exactly' : `nearly (${similarity.toFixed(2)})`;
          say(
            `  line ${items[index].line}: ${excerpt(texts[index].at(-1)!)} repeats line ${items[of].line} ${why}`,
          );
        }
      },
    );
}

function addRenumber(qa: Command): void {
  qa.command('renumber')
    .description(
      'number anew what has numbers: QUESTION 7: and ANSWER 7:, or posts that begin with 7. after a blank line',
    )
    .argument('[file]', FILE)
    .option(...OUT)
    .option(...IN_PLACE)
    .option('--start <n>', 'the first number', integer(0), 1)
    .action(async (file: string | undefined, flags: OutputFlags & { start: number }) => {
      const input = await readInput(file, flags);
      if (isJsonLines(input.text, input.source))
        throw new DataError(`renumber: expected text with numbers, got JSON lines in ${input.source}`);
      const { text, count, changed } = renumber(input.text, flags);
      await writeOutput(text, flags, [input]);
      say(`renumber: ${plural(changed, 'number')} changed, ${count} counted in ${input.source}`);
    });
}

function addStats(qa: Command): void {
  qa.command('stats')
    .description('pairs, lengths in characters and tokens, duplicates, most frequent words')
    .argument('[files...]', 'files; without one or for -, standard input')
    .option('--vocab-size <n>', "ids of GPT-2's tokenizer, from 257", integer(257), 50_257)
    .option('--words <n>', 'how many words to name', integer(0), 20)
    .option('--json', 'as JSON')
    .option(...OUT)
    .action(
      async (files: string[], flags: OutputFlags & { vocabSize: number; words: number; json?: boolean }) => {
        const inputs = await readInputs(files);
        const records = inputs.flatMap(({ text, source }) => parseQARecords(text, source));
        if (records.length === 0)
          throw new DataError(
            `stats: expected questions and answers, got none in ${inputs.map(({ source }) => source).join(', ')}`,
          );
        // The tokenizer's tables take a moment to load, which the other tools need not wait for.
        const { GPT2Tokenizer } = await import('../data/tokenizer.js');
        const tokenizer = new GPT2Tokenizer({ size: flags.vocabSize });
        const stats = statsQA(records, (text) => tokenizer.encode(text), flags);
        const text = flags.json ? `${JSON.stringify(stats, null, 2)}\n` : formatStats(stats);
        await writeOutput(text, flags, inputs);
      },
    );
}

function addSplit(qa: Command): void {
  qa.command('split')
    .description(
      "deal questions to train, validation and test by a seeded hash; a question's answers stay together",
    )
    .argument('[files...]', 'files; without one or for -, standard input')
    .option(OUT[0], 'JSON lines with a field "split"; default: standard output')
    .option(
      '--folder <folder>',
      'instead, train.txt, validation.txt and test.txt in this folder, which exists',
    )
    .option('--validation <share>', 'share of the questions', share, 0.1)
    .option('--test <share>', 'share of the questions', share, 0.05)
    .option('--seed <n>', 'another seed, another split', integer(0), 0)
    .action(
      async (
        files: string[],
        flags: OutputFlags & { folder?: string; validation: number; test: number; seed: number },
      ) => {
        if (flags.folder !== undefined && flags.out !== undefined)
          throw new DataError('split: expected either --folder or --out, got both; leave one out');
        const inputs = await readInputs(files);
        const records = inputs.flatMap(({ text, source }) => parseQARecords(text, source));
        const parts = splitQA(records, flags);
        if (flags.folder === undefined) {
          const dealt = Object.entries(parts).flatMap(([split, part]: [string, QARecord[]]) =>
            part.map((record) => ({ ...record, split: split as keyof typeof parts })),
          );
          const document: QADocument = {
            kind: 'pairs',
            format: 'jsonl',
            numbered: NO_NUMBERS,
            records: dealt,
          };
          await writeOutput(formatDocument(document), flags, inputs);
        } else {
          const targets = Object.entries(parts).map(([name, part]: [string, QARecord[]]) => ({
            out: join(flags.folder!, `${name}.txt`),
            text: formatAllQA(part),
          }));
          // All are looked at before the first is written.
          for (const { out } of targets) await refuseInput(out, inputs);
          for (const { out, text } of targets) await writeOutput(text, { out }, inputs);
        }
        say(
          `split: ${parts.train.length} pairs to train, ${parts.validation.length} to validate, ${parts.test.length} to test`,
        );
      },
    );
}

function share(text: string): number {
  const value = number(0, 1)(text);
  if (value === 1) throw new InvalidArgumentError('expected a share below 1.');
  return value;
}

function describe(document: QADocument): string {
  return document.kind === 'posts'
    ? plural(document.posts.length, 'post')
    : plural(document.records.length, 'pair');
}

function describeProblems(problems: readonly QAProblem[], source: string): string {
  const more = problems.length > 1 ? `; ${problems.length} such places in all` : '';
  return `${problems[0].message}, line ${problems[0].line} of ${source}${more}`;
}

function plural(n: number, word: string): string {
  return `${n.toLocaleString('en')} ${word}${n === 1 ? '' : 's'}`;
}

/** `3 times, 2 names`. */
function count(kinds: readonly string[]): string {
  return CLEANINGS.map((kind) => [kind, kinds.filter((k) => k === kind).length] as const)
    .filter(([, n]) => n > 0)
    .map(([kind, n]) => `${n} × ${kind}`)
    .join(', ');
}

function say(line: string): void {
  console.error(line);
}
