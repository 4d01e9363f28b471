/** `dawngrad predict`: what a trained classifier says of new documents. */
import type { Command } from 'commander';
import { writeFileAtomic } from '../data/atomic-file.js';
import { DataError } from '../device/errors.js';
import { readClassifyRun } from '../train/classifier-run.js';
import type { ClassifyConfig } from '../train/classify-config.js';
import { type Prediction, Predictor } from '../train/predict.js';
import { Progress } from '../train/progress.js';
import { RunFolder } from '../train/run-folder.js';
import { openQuietly } from './model.js';
import { integer, number } from './options.js';
import { type Inputs, openInputs } from './predict-inputs.js';
import { wrapText } from './wrap.js';

interface Flags {
  model: string;
  text?: string;
  id?: string;
  limit?: number;
  top?: number;
  threshold?: number;
  json?: boolean;
  jsonl?: string;
  device: string;
  adapter?: string;
}

/** Chunks that are told of each single text. */
const TOP = 3;
/** Without a terminal, progress on fewer documents would be nothing but noise. */
const MANY = 50;

/** `dawngrad predict`. */
export function addPredictCommand(program: Command): void {
  program
    .command('predict')
    .description('judge documents by a trained classifier, and tell which of their chunks weighed most')
    .argument(
      '<inputs...>',
      'text files, folders of .txt files, .parquet, .jsonl, .csv or .tsv files, - for standard input',
    )
    .requiredOption(
      '--model <run>',
      'run folder of dawngrad classify; of a cross-validation, folds are averaged',
    )
    .option(
      '--text <column>',
      'tables: the text; default: the column that the run learnt from, or a usual name',
    )
    .option('--id <column>', 'tables: what names a document; default: id, movie_name or name')
    .option('--limit <rows>', 'tables: rows to read at most', integer(1))
    .option(
      '--top <n>',
      `chunks to tell of; default: ${TOP}, of folders and tables 0, the fastest`,
      integer(0),
    )
    .option('--threshold <p>', "class 1 from this probability on; default: the run's", number(0, 1))
    .option('--json', 'print JSON: an array with an object per document')
    .option('--jsonl <file>', 'write JSON lines to a file, one per document')
    .option('--device <kind>', 'auto, webgpu or cpu', 'auto')
    .option('--adapter <name>', "WebGPU adapter: part of its name, or 'swiftshader', 'lavapipe', 'software'")
    .addHelpText(
      'after',
      `
The effect of a chunk is what it adds to the log-odds of class 1: without it, the model would have said as much less.

Examples:
  $ dawngrad predict --model runs/sotu speech.txt
  $ dawngrad predict --model runs/sotu speeches/ --top 1
  $ dawngrad predict --model runs/movies movies.parquet --text summary --jsonl predictions.jsonl
  $ pdftotext script.pdf - | dawngrad predict --model runs/oscars --json -`,
    )
    .action((inputs: string[], flags: Flags) => predict(inputs, flags));
}

async function predict(names: readonly string[], flags: Flags): Promise<void> {
  const { model: folder, text, id, limit, json = false, jsonl, threshold } = flags;
  if (json && jsonl !== undefined) throw new DataError('predict: expected --json or --jsonl, got both');
  // What is wrong with run and inputs is found before a device is opened.
  const { config } = readClassifyRun(await RunFolder.open(folder));
  const inputs = await openInputs(names, { text, id, limit, learntFrom: config.text });
  const top = flags.top ?? (inputs.areTexts ? TOP : 0);
  const device = await openQuietly(flags.device, flags.adapter);
  try {
    const predictor = await Predictor.open(folder, device);
    console.error(describe(folder, predictor, threshold));
    const limits = { top, threshold };
    const predictions = watched(predictor.predict(inputs.documents(), limits), inputs);
    const line = (p: Prediction): string => JSON.stringify(record(p, threshold ?? predictor.threshold));
    if (jsonl !== undefined) await writeLines(jsonl, predictions, line);
    else if (json) {
      const lines: string[] = [];
      for await (const prediction of predictions) lines.push(line(prediction));
      console.log(`[\n${lines.join(',\n')}\n]`);
    } else {
      const width = Math.min(process.stdout.columns ?? 100, 120);
      const said = className(config);
      for await (const prediction of predictions) {
        process.stdout.write(format(prediction, said, width));
      }
    }
  } finally {
    await device.close();
  }
}

function describe(folder: string, { runs, config, threshold }: Predictor, given?: number): string {
  const parameters = runs[0].model.numParameters().toLocaleString('en');
  const folds = runs.length > 1 ? `, the mean of ${runs.length} folds` : '';
  const at = given === undefined ? `${threshold.toFixed(3)}, chosen on validation` : given;
  return `Model      ${folder}: ${config.encoder} of ${parameters} parameters${folds}; class 1 from a probability of ${at}`;
}

/** Passes predictions on, and shows how many there have been. */
async function* watched(predictions: AsyncIterable<Prediction>, inputs: Inputs): AsyncGenerator<Prediction> {
  const total = inputs.count;
  const { stderr } = process;
  const progress =
    total !== null && total > 1 && (stderr.isTTY || total >= MANY)
      ? new Progress({ total, label: 'predicting', stream: stderr })
      : null;
  let count = 0;
  let told = performance.now();
  try {
    for await (const prediction of predictions) {
      count++;
      progress?.update({ step: count });
      if (total === null && performance.now() - told > 5000) {
        stderr.write(`predicting ${count.toLocaleString('en')} documents so far\n`);
        told = performance.now();
      }
      yield prediction;
    }
  } finally {
    progress?.stop();
  }
}

async function writeLines(
  file: string,
  predictions: AsyncIterable<Prediction>,
  line: (prediction: Prediction) => string,
): Promise<void> {
  const counts = { documents: 0, ones: 0, empty: 0, cut: 0 };
  async function* lines(): AsyncGenerator<string> {
    for await (const prediction of predictions) {
      counts.documents++;
      counts.ones += prediction.verdict;
      if (prediction.tokens === 0) counts.empty++;
      else if (prediction.tokensRead < prediction.tokens) counts.cut++;
      yield `${line(prediction)}\n`;
    }
  }
  try {
    await writeFileAtomic(file, lines());
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === undefined) throw cause;
    throw new DataError(`predict: cannot write ${file}: ${(cause as Error).message}`, { cause });
  }
  const n = (x: number): string => x.toLocaleString('en');
  const remarks = [
    counts.empty > 0 ? `${n(counts.empty)} empty` : '',
    counts.cut > 0 ? `${n(counts.cut)} longer than what is read of them` : '',
  ].filter((remark) => remark !== '');
  console.log(
    [`${n(counts.documents)} documents, ${n(counts.ones)} of class 1, in ${file}`, ...remarks].join('; '),
  );
}

/** What class 1 is called, where the run knows. */
function className({ positive, label, data, oscars }: ClassifyConfig): string {
  const known: Readonly<Record<string, string>> = { sotu: 'Republican', spam: 'spam' };
  const name =
    positive?.join(', ') ??
    (label === 'nominated' || label === 'winner'
      ? label
      : oscars !== null
        ? 'nominated'
        : data.length === 1
          ? known[data[0]]
          : undefined);
  return name === undefined ? 'class 1' : `class 1 (${name})`;
}

/** A document for a program to read. */
function record(p: Prediction, threshold: number): Record<string, unknown> {
  const { name: id, probability, verdict, folds, tokens, tokensRead, chunks, top } = p;
  const length = { tokens, tokensRead, empty: tokens === 0, truncated: tokensRead < tokens };
  return { id, probability, verdict, threshold, ...(folds && { folds }), ...length, chunks, top };
}

/** A document for a person to read. */
function format(prediction: Prediction, said: string, width: number): string {
  const { name, probability, verdict, folds, tokens, tokensRead, chunks, top } = prediction;
  const n = (x: number): string => x.toLocaleString('en');
  const decided = verdict === 1 ? said : said.replace(/^class 1/, 'not class 1');
  const remarks = [
    tokens === 0
      ? 'EMPTY, so this says nothing'
      : tokensRead < tokens
        ? `READ ${n(tokensRead)} OF ${n(tokens)} TOKENS${chunks ? `, ${n(chunks.read)} of ${n(chunks.all)} chunks` : ''}`
        : `${n(tokens)} tokens${chunks ? `, ${n(chunks.all)} ${chunks.all === 1 ? 'chunk' : 'chunks'}` : ''}`,
    folds ? `folds ${folds.map((p) => p.toFixed(3)).join(' ')}` : '',
  ].filter((remark) => remark !== '');
  const lines = [`${probability.toFixed(4)}  ${decided}  ${name}  (${remarks.join('; ')})`];
  for (const { tokens: at, characters, effect, weight, excerpt } of tokens === 0 ? [] : top) {
    const facts = [
      `effect ${effect < 0 ? '−' : '+'}${Math.abs(effect).toFixed(3)}`,
      weight === null ? '' : `weight ${weight.toFixed(3)}`,
      `tokens ${n(at[0])}–${n(at[1])}`,
      `characters ${n(characters[0])}–${n(characters[1])}`,
    ].filter((fact) => fact !== '');
    lines.push(`  ${facts.join(', ')}`, ...wrapText(excerpt, width - 4).map((line) => `    ${line}`));
  }
  if (top.length > 0 && tokens > 0) lines.push('');
  return `${lines.join('\n')}\n`;
}
