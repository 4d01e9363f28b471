/** The tools of `dawngrad qa` that work on whole sets of pairs or posts: merge, dedupe, stats, split. */
import { join } from 'node:path';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { excerpt, formatAllQA } from '../data/qa.js';
import { dedupeTexts } from '../data/qa-dedupe.js';
import {
  formatDocument,
  isJsonLines,
  parseDocument,
  parseQARecords,
  type QADocument,
  type QARecord,
} from '../data/qa-records.js';
import { splitQA } from '../data/qa-split.js';
import { statsQA } from '../data/qa-stats.js';
import { DataError } from '../device/errors.js';
import { integer, number } from './options.js';
import {
  FILE,
  FILES,
  IN_PLACE,
  OUT,
  type OutputFlags,
  readInput,
  readInputs,
  refuseInput,
  say,
  writeOutput,
} from './qa-files.js';
import { formatStats, plural } from './qa-report.js';

export function addMerge(qa: Command): void {
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

export function addDedupe(qa: Command): void {
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

export function addStats(qa: Command): void {
  qa.command('stats')
    .description('pairs, lengths in characters and tokens, duplicates, most frequent words')
    .argument('[files...]', FILES)
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

export function addSplit(qa: Command): void {
  qa.command('split')
    .description(
      "deal questions to train, validation and test by a seeded hash; a question's answers stay together",
    )
    .argument('[files...]', FILES)
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
            numbered: { question: false, answer: false },
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
