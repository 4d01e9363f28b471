/** Node only. The page of a run, made again from the files in its folder. */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename, resolve } from 'node:path';
import { DataError } from '../device/errors.js';
import type { MetricRow, ScoredModel } from './classifier-report.js';
import { RESULT, readClassifyRun } from './classifier-run.js';
import type { ClassifyConfig } from './classify-config.js';
import { classifyReport, foldSection, inOrder, scoredModels } from './classify-report.js';
import type { ClassifyResult, FoldsResult, PredictionLine, Thresholds } from './classify-types.js';
import { errorSections, type JudgedDocument } from './error-report.js';
import { type HtmlCell, type HtmlSection, htmlReport, htmlTable, htmlText } from './html-report.js';
import type { Baseline } from './plot.js';
import { curveSection, foldCurves } from './run-curves.js';
import { RunFolder } from './run-folder.js';

export interface RunReport {
  readonly html: string;
  /** Of a classifier, the table of its test documents. */
  readonly rows: readonly MetricRow[] | null;
}

/**
 * The page of a run, whatever command made it: curves, result and settings; of a classifier also the table of models with
 * intervals, ranking, calibration, decisions, lengths, and the documents that are most wrong.
 *
 * @param path the run's folder; of a cross-validation, the folder of all folds or of one
 * @throws DataError for what is no run, and files in it that cannot be read
 */
export async function reportRun(path: string): Promise<RunReport> {
  const run = await RunFolder.open<Record<string, unknown>>(path);
  const isClassifier = ['resolved', 'digest', 'gpt2'].every((key) => run.config?.[key] !== undefined);
  return isClassifier ? reportClassifier(run) : { html: await reportOther(run), rows: null };
}

/** Makes `report.html` of a run. */
export async function writeReport(run: RunFolder): Promise<void> {
  await run.writeText('report.html', (await reportRun(run.path)).html);
}

async function reportClassifier(run: RunFolder): Promise<RunReport> {
  const { config, record } = readClassifyRun(run);
  const title = `Classifier of ${config.data.map((name) => basename(name)).join(', ')}`;
  const isWhole = config.folds > 0 && record.fold === null;
  const name = isWhole
    ? `${title}, ${config.folds} folds`
    : record.fold === null
      ? title
      : `${title}, fold ${record.fold} of ${config.folds}`;
  const folds = isWhole ? await openFolds(run, config.folds) : [];
  const curves = isWhole
    ? foldCurves(
        await Promise.all(
          folds.map(async ({ fold, run: f }) => ({ name: `fold ${fold}`, lines: await f.readMetrics() })),
        ),
      )
    : curveSection({ lines: await run.readMetrics() });
  if (!existsSync(run.file(RESULT))) {
    const body = htmlText('The run has not finished: there is no result yet.', { warning: true });
    return {
      html: htmlReport({
        title: name,
        lead: resolve(run.path),
        sections: [{ title: 'Result', body }, curves, settings(config)],
      }),
      rows: null,
    };
  }
  const result = (await readJson(run.file(RESULT))) as ClassifyResult & FoldsResult;
  const rows = result.test.map(revived);
  const lines = await readLines(run.file('predictions.jsonl'));
  const test = lines.filter(({ split }) => split === 'test');
  const thresholds = new Map<number | undefined, Thresholds>();
  if (isWhole) {
    for (const { fold, run: f } of folds) {
      thresholds.set(fold, ((await readJson(f.file(RESULT))) as ClassifyResult).thresholds);
    }
  } else for (const { fold } of test) thresholds.set(fold, result.thresholds);
  const of = (line: PredictionLine): Thresholds => thresholds.get(line.fold) ?? {};
  const models = modelsOf(test, config, of);
  const other = ['bow', 'zero-shot'].find((b) => (config.baselines as readonly string[]).includes(b));
  const judged = test.map(
    (line): JudgedDocument => ({
      name: line.title ?? line.id,
      group: line.group,
      label: line.label,
      probability: line.probability,
      threshold: of(line).model,
      characters: line.characters,
      other: other === undefined ? undefined : (line[other] as number),
    }),
  );
  const names: Readonly<Record<string, string>> = { bow: 'bag of words', 'zero-shot': 'zero-shot' };
  const html = classifyReport({
    title: name,
    lead: lead(result, test.length, isWhole),
    models,
    rows,
    config,
    parts: isWhole ? null : result.parts,
    twins: result.twins,
    sections: [
      ...(isWhole ? [foldSection(result)] : []),
      ...errorSections(judged, names[other ?? '']),
      curves,
    ],
  });
  return { html, rows };
}

function lead(result: ClassifyResult & FoldsResult, documents: number, isWhole: boolean): string {
  const n = (x: number): string => x.toLocaleString('en');
  if (isWhole) return `${n(documents)} documents, each judged by the run that did not learn from it.`;
  const { parameters, best, step } = result;
  return `${n(documents)} test documents; ${n(parameters.trainable)} parameters trained, best at step ${n(best.step)} of ${n(step)}.`;
}

/** The model and its baselines on the test documents, in the order of the table. */
function modelsOf(
  lines: readonly PredictionLine[],
  config: ClassifyConfig,
  thresholds: (line: PredictionLine) => Thresholds,
): ScoredModel[] {
  const table = (name: string) => new Map(lines.map((line, i) => [i, line[name] as number]));
  const baselines = config.baselines
    .filter((name) => lines.every((line) => typeof line[name] === 'number'))
    .map((name) => ({ name, probabilities: table(name), facts: null }));
  const documents = lines.map(({ id, group, label }) => ({ id, group, label, text: '', part: null }));
  return scoredModels(
    inOrder(table('probability'), baselines),
    documents,
    lines.map((_, i) => i),
    (model, i) => thresholds(lines[i])[model],
  );
}

async function openFolds(parent: RunFolder, count: number): Promise<{ fold: number; run: RunFolder }[]> {
  const numbers = Array.from({ length: count }, (_, i) => i + 1);
  return await Promise.all(
    numbers
      .filter((fold) => existsSync(parent.file(`fold-${fold}`)))
      .map(async (fold) => ({ fold, run: await RunFolder.open(parent.file(`fold-${fold}`)) })),
  );
}

/** JSON has no NaN: what is undefined came as null, but of `against`, which may be missing. */
function revived(row: MetricRow): MetricRow {
  const numbers = (value: unknown): unknown =>
    value === null
      ? Number.NaN
      : Array.isArray(value) || typeof value !== 'object'
        ? value
        : Object.fromEntries(Object.entries(value).map(([key, v]) => [key, numbers(v)]));
  return {
    ...(numbers(row) as MetricRow),
    against: row.against === null ? null : (numbers(row.against) as MetricRow['against']),
  };
}

/** A run of `train`, `finetune` or a recipe. */
async function reportOther(run: RunFolder<Record<string, unknown>>): Promise<string> {
  const lines = await run.readMetrics();
  const result = existsSync(run.file(RESULT)) ? await readJson(run.file(RESULT)) : null;
  return htmlReport({
    title: `Run ${basename(resolve(run.path))}`,
    lead: resolve(run.path),
    sections: [
      curveSection({ lines }, { baselines: baselinesOf(result) }),
      ...(result === null
        ? [
            {
              title: 'Result',
              body: htmlText('The run has not finished: there is no result yet.', { warning: true }),
            },
          ]
        : resultSections(result)),
      settings(run.config),
    ],
  });
}

/** Losses of counts, which a model must beat. */
function baselinesOf(result: unknown): Baseline[] {
  const { unigram, bigram, heldOut } = (result ?? {}) as {
    unigram?: unknown;
    bigram?: unknown;
    heldOut?: readonly { unigram?: unknown; bigram?: unknown }[];
  };
  const first = Array.isArray(heldOut) ? heldOut[0] : undefined;
  return Object.entries({ unigram: unigram ?? first?.unigram, bigram: bigram ?? first?.bigram }).flatMap(
    ([label, loss]) => (typeof loss === 'number' && Number.isFinite(loss) ? [{ label, loss }] : []),
  );
}

type Plain = string | number | boolean | null;
const isPlain = (value: unknown): value is Plain => value === null || typeof value !== 'object';

/** What result.json holds: figures, lists of records as tables, samples. */
function resultSections(result: unknown): HtmlSection[] {
  const figures: [string, Plain][] = [];
  const sections: HtmlSection[] = [];
  const visit = (value: unknown, path: readonly string[]): void => {
    if (isPlain(value)) figures.push([path.join(', '), value]);
    else if (!Array.isArray(value)) {
      for (const [key, v] of Object.entries(value as object)) visit(v, [...path, words(key)]);
    } else if (value.length > 0 && value.every(isPlain)) {
      figures.push([path.join(', '), value.join(', ')]);
    } else if (value.length > 0) {
      const columns = [...new Set(value.flatMap((record) => Object.keys(record ?? {})))].filter((key) =>
        value.every((record) => isPlain(record?.[key] ?? null)),
      );
      sections.push({
        title: sentence(path.join(', ')),
        body: htmlTable(
          columns.map(words),
          value.map((record) => columns.map((key) => cell(record?.[key] ?? null))),
        ),
      });
    }
  };
  visit(result, []);
  return [
    {
      title: 'Result',
      body: htmlTable(
        ['figure', 'value'],
        figures.map(([name, value]) => [name, cell(value)]),
      ),
    },
    ...sections,
  ];
}

function cell(value: Plain): HtmlCell {
  if (typeof value === 'number') return value;
  return value === null ? '–' : String(value);
}

/** `bitsPerCharacter` as words. */
const words = (key: string): string => key.replace(/[A-Z]/g, (c) => ` ${c.toLowerCase()}`);
const sentence = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

function settings(config: unknown): HtmlSection {
  const entries = Object.entries((config ?? {}) as Record<string, unknown>);
  return {
    title: 'Settings',
    body: htmlTable(
      ['setting', 'value'],
      entries.flatMap(([name, value]) =>
        value === null ? [] : [[name, isPlain(value) ? String(value) : JSON.stringify(value)]],
      ),
    ),
  };
}

async function readLines(path: string): Promise<PredictionLine[]> {
  const text = await readFile(path, 'utf8').catch((cause: Error) => {
    throw new DataError(`report: cannot read ${path}: ${cause.message}`, { cause });
  });
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line, i) => parse(line, `${path}:${i + 1}`) as PredictionLine);
}

async function readJson(path: string): Promise<unknown> {
  const text = await readFile(path, 'utf8').catch((cause: Error) => {
    throw new DataError(`report: cannot read ${path}: ${cause.message}`, { cause });
  });
  return parse(text, path);
}

function parse(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new DataError(`report: ${where} is not JSON: ${(cause as Error).message}`, { cause });
  }
}
