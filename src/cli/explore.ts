/** `dawngrad explore`: what a data set holds, before anything is trained on it. */
import type { Command } from 'commander';
import { writeFileAtomic } from '../data/atomic-file.js';
import { exploreTable } from '../data/explore.js';
import { sotuDocuments, spamDocuments } from '../data/npm-documents.js';
import { type Table, tableOf } from '../data/table.js';
import { openTable } from '../data/table-file.js';
import { GPT2Tokenizer } from '../data/tokenizer.js';
import { DataError } from '../device/errors.js';
import { explorationHtml, formatExploration } from '../train/explore-report.js';
import { Progress } from '../train/progress.js';
import { integer, number } from './options.js';

interface ExploreFlags {
  text?: string;
  label?: string;
  positive?: string[];
  negative?: string[];
  id?: string;
  group?: string;
  splitColumn?: string;
  seed: number;
  limit?: number;
  words: number;
  threshold: number;
  html?: string;
}

/** `dawngrad explore`. */
export function addExploreCommand(program: Command): void {
  program
    .command('explore')
    .description(
      'look at labelled documents: classes, gaps, lengths in tokens, typical words, near-duplicates between splits',
    )
    .argument('<data>', 'a .parquet, .jsonl, .csv or .tsv file, a folder of .txt files, sotu or spam')
    .option('--text <column>', 'the text; default: script_clean, script_plain, script, summary or text')
    .option('--label <column>', 'the class; default: nominated, winner, label or class')
    .option('--positive <values...>', 'values of the class that are 1; default: 1, true, yes')
    .option('--negative <values...>', 'values that are 0, others are left out; default: all others')
    .option('--id <column>', 'what names a document')
    .option('--group <column>', 'what must not be in two splits; default: group, or title and year')
    .option(
      '--split-column <column>',
      'the split of a document; default: split, or else splits made by --seed',
    )
    .option('--seed <n>', 'of the splits', integer(0), 0)
    .option('--limit <rows>', 'rows to read at most', integer(1))
    .option('--words <n>', 'words in each list', integer(1), 20)
    .option(
      '--threshold <share>',
      'common runs of five words from which two texts are twins',
      number(0.1, 1),
      0.5,
    )
    .option('--html <file>', 'write a report with plots, one file without script')
    .addHelpText(
      'after',
      `
Examples:
  $ dawngrad explore movies.parquet --html report.html
  $ dawngrad explore sotu --html report.html
  $ dawngrad explore plays --label genre --positive tragedy
  $ dawngrad explore mails.csv --text body --label spam --group sender`,
    )
    .action(async (data: string, flags: ExploreFlags) => {
      const { splitColumn, html, ...options } = flags;
      const table = await open(data);
      const tokenizer = new GPT2Tokenizer();
      const total = Math.min(table.rowCount ?? Infinity, flags.limit ?? Infinity);
      const progress =
        Number.isFinite(total) && process.stderr.isTTY
          ? new Progress({ total, label: 'reading', stream: process.stderr })
          : null;
      const exploration = await exploreTable(table, {
        ...options,
        split: splitColumn,
        encode: (text) => tokenizer.encode(text),
        onProgress: (step) => progress?.update({ step }),
      });
      progress?.stop();
      process.stdout.write(formatExploration(exploration));
      if (html === undefined) return;
      try {
        await writeFileAtomic(html, [explorationHtml(exploration)]);
      } catch (cause) {
        throw new DataError(`explore: cannot write ${html}: ${(cause as Error).message}`, { cause });
      }
      console.error(`explore: report in ${html}`);
    });
}

/** A file or folder, or documents of an npm package by their short name. */
async function open(data: string): Promise<Table> {
  const documents = data === 'sotu' ? sotuDocuments() : data === 'spam' ? spamDocuments() : null;
  if (documents === null) return await openTable(data);
  return tableOf(
    documents.map((document) => ({ ...document })),
    data,
  );
}
