/** Node only. Cross-validation of a classifier: a run for each fold, and all documents judged by runs that did not know them. */
import { existsSync } from 'node:fs';
import { readFile, rmdir } from 'node:fs/promises';
import { DataError } from '../device/errors.js';
import type { ClassifySetup } from './classify.js';
import { recordOf } from './classify-record.js';
import type { Division } from './classify-data.js';
import {
  inOrder,
  jsonLines,
  MODEL,
  measure,
  numberOf,
  ownRow,
  predictionLines,
  scoredModels,
} from './classify-report.js';
import type { ClassifyResult, FoldsResult, PredictionLine } from './classify-types.js';
import { RESULT } from './classifier-run.js';
import { METRICS, type MetricName } from './classifier-report.js';
import { RunFolder } from './run-folder.js';
import { writeReport } from './run-report.js';

/** A fold that has finished. */
interface Finished {
  readonly fold: number;
  readonly result: ClassifyResult;
  readonly predictions: readonly PredictionLine[];
}

/** The folder of a fold in that of the cross-validation: the one that is there, or a new one; null to make none. */
export async function openFold(
  parent: RunFolder,
  { fold }: Division,
  record: Record<string, unknown> | null,
): Promise<{ run: RunFolder; isFinished: boolean } | null> {
  const name = `fold-${fold}`;
  const path = parent.file(name);
  if (existsSync(`${path}/config.json`)) {
    const run = await RunFolder.open(path);
    return { run, isFinished: existsSync(run.file(RESULT)) };
  }
  if (record === null) return null;
  // A process that was killed may have left a folder with nothing in it, beside which a new one would get another name.
  if (existsSync(path)) await rmdir(path);
  return { run: await RunFolder.create(parent.path, name, record), isFinished: false };
}

/** What config.json of the whole cross-validation says. */
export function foldsRecord({ config, data }: ClassifySetup): Record<string, unknown> {
  return { ...recordOf(config, data, null, { folds: config.folds }, null) };
}

/**
 * Measures all folds' test documents together, and leaves the table, predictions and report in the folder.
 *
 * @throws DataError where a fold has not finished
 */
export async function concludeFolds(setup: ClassifySetup, parent: RunFolder): Promise<FoldsResult> {
  const { config, data } = setup;
  const { documents } = data;
  const finished: Finished[] = [];
  for (const { fold } of data.divisions) finished.push(await readFold(parent, fold!));

  const number = new Map(documents.map(({ id }, i) => [id, i]));
  const foldOf = new Map<number, number>();
  const tables = new Map<string, Map<number, number>>();
  const table = (name: string): Map<number, number> => {
    if (!tables.has(name)) tables.set(name, new Map());
    return tables.get(name)!;
  };
  for (const { fold, predictions } of finished) {
    for (const line of predictions) {
      if (line.split !== 'test') continue;
      const i = number.get(line.id)!;
      foldOf.set(i, fold);
      table(MODEL).set(i, line.probability);
      for (const name of config.baselines) table(name).set(i, line[name] as number);
    }
  }
  const baselines = [...tables]
    .filter(([name]) => name !== MODEL)
    .map(([name, probabilities]) => ({ name, probabilities, facts: null }));
  const models = inOrder(table(MODEL), baselines);
  const all = documents.map((_, i) => i);
  const thresholds = new Map(finished.map(({ fold, result }) => [fold, result.thresholds]));
  // Each document is decided by the threshold of the run that judged it.
  const scored = scoredModels(models, documents, all, (model, i) => thresholds.get(foldOf.get(i)!)![model]);
  const twins = data.divisions[0].twins;
  const result: FoldsResult = {
    folds: finished.map(({ fold, result: { step, stopped, seconds, best, threshold, parts, test } }) => ({
      fold,
      step,
      stopped,
      seconds,
      best,
      threshold,
      parts,
      test,
    })),
    twins,
    test: measure(scored, config),
  };
  const parts = { train: [], validation: [], test: all };
  await parent.writeText(
    'predictions.jsonl',
    jsonLines(predictionLines(models, documents, parts, (i) => foldOf.get(i)!)),
  );
  await parent.writeJson(RESULT, result);
  await writeReport(parent);
  return result;
}

async function readFold(parent: RunFolder, fold: number): Promise<Finished> {
  const run = await RunFolder.open(parent.file(`fold-${fold}`));
  if (!existsSync(run.file(RESULT))) {
    throw new DataError(`classify: expected all folds to have finished, got fold ${fold}, which has not`);
  }
  const lines = (await readFile(run.file('predictions.jsonl'), 'utf8')).split('\n').filter(Boolean);
  return {
    fold,
    result: JSON.parse(await readFile(run.file(RESULT), 'utf8')) as ClassifyResult,
    predictions: lines.map((line) => JSON.parse(line) as PredictionLine),
  };
}

/** The folds for a terminal: a line each, then mean and standard deviation. */
export function formatFolds({ folds }: FoldsResult): string {
  const names = Object.keys(METRICS) as MetricName[];
  const values = names.map((name) => folds.map(({ test }) => numberOf(ownRow(test).metrics[name].value)));
  const row = (label: string, documents: string, cells: readonly number[]): string =>
    label.padEnd(10) + documents.padStart(12) + cells.map((x) => x.toFixed(3).padStart(20)).join('');
  const mean = (x: readonly number[]): number => x.reduce((a, b) => a + b, 0) / x.length;
  const deviation = (x: readonly number[]): number =>
    Math.sqrt(x.reduce((sum, v) => sum + (v - mean(x)) ** 2, 0) / Math.max(1, x.length - 1));
  return [
    'fold'.padEnd(10) + 'documents'.padStart(12) + names.map((name) => METRICS[name].padStart(20)).join(''),
    ...folds.map(({ fold, parts }, k) =>
      row(
        String(fold),
        String(parts.test.documents),
        values.map((v) => v[k]),
      ),
    ),
    row('mean', '', values.map(mean)),
    row('± sd', '', values.map(deviation)),
    '',
  ].join('\n');
}
