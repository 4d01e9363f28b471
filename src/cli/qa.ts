/** `dawngrad qa`: tools for texts of questions and answers; here those that edit one text. Reports go to standard error. */
import { type Command, Option } from 'commander';
import { excerpt, formatAllQA, type QAPair, type QAProblem } from '../data/qa.js';
import { CLEANINGS, type Cleaning, cleanText, type Removed } from '../data/qa-clean.js';
import { LABEL_STYLES, type LabelStyle, labelQA } from '../data/qa-label.js';
import { renumber } from '../data/qa-posts.js';
import { formatDocument, isJsonLines, parseQARecords, type QARecord } from '../data/qa-records.js';
import { DataError } from '../device/errors.js';
import { integer } from './options.js';
import { FILE, IN_PLACE, OUT, type OutputFlags, readInput, say, writeOutput } from './qa-files.js';
import { plural } from './qa-report.js';
import { addDedupe, addMerge, addSplit, addStats } from './qa-sets.js';

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
    text: formatDocument({
      kind: 'pairs',
      format: 'jsonl',
      numbered: { question: false, answer: false },
      records,
    }),
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

function describeProblems(problems: readonly QAProblem[], source: string): string {
  const more = problems.length > 1 ? `; ${problems.length} such places in all` : '';
  return `${problems[0].message}, line ${problems[0].line} of ${source}${more}`;
}

/** `3 times, 2 names`. */
function count(kinds: readonly string[]): string {
  return CLEANINGS.map((kind) => [kind, kinds.filter((k) => k === kind).length] as const)
    .filter(([, n]) => n > 0)
    .map(([kind, n]) => `${n} × ${kind}`)
    .join(', ');
}
