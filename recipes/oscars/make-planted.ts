/** `npm run recipe:planted`: writes documents with planted sentences as JSON lines. README.md tells more. */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Argument, Command } from 'commander';
import { integer } from '../../src/cli/options.js';
import { runProgram } from '../../src/cli/run-program.js';
import { readNovel } from '../../src/node.js';
import { novelSentences, plantedDocuments, RIDDLES, type Riddle } from './planted.js';

interface Flags {
  documents: number;
  least: number;
  most: number;
  head: number;
  seed: number;
  text?: string;
  out?: string;
}

const program = new Command('recipe:planted')
  .description('write documents of real sentences in which one or two planted ones decide the label')
  .addArgument(new Argument('<riddle>', 'where the answer is').choices(RIDDLES))
  .option('--documents <n>', 'eight in ten for training, one for validation, one for test', integer(20), 3000)
  .option('--least <n>', 'fewest sentences of a document', integer(2), 14)
  .option('--most <n>', 'most sentences', integer(2), 24)
  .option('--head <n>', 'sentences at the start where nothing is planted', integer(1), 4)
  .option('--seed <n>', 'the same seed writes the same file', integer(0), 1)
  .option('--text <file>', 'whose sentences (default: Moby-Dick from npm)')
  .option('--out <file>', 'where to (default: runs/planted/<riddle>.jsonl)')
  .addHelpText(
    'after',
    `
Examples:
  $ npm run recipe:planted -- both
  $ npm run recipe:planted -- one --least 200 --most 400 --out long.jsonl`,
  )
  .action(write);

await runProgram(program, 'recipe:planted');

async function write(riddle: Riddle, { least, most, text, out, ...flags }: Flags): Promise<void> {
  const path = out ?? `runs/planted/${riddle}.jsonl`;
  const made = plantedDocuments(
    { riddle, sentences: [least, most], ...flags },
    novelSentences(readNovel(text).text),
  );
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, made.map((d) => `${JSON.stringify(d)}\n`).join(''));
  const count = (split: string) => made.filter((d) => d.split === split).length;
  console.log(
    `${path}: ${made.length} documents, ${count('train')} for training, ${count('validation')} for validation, ${count('test')} for test`,
  );
}
