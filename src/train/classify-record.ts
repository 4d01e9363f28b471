/** Node only. What config.json of a classifier's run says, and whether the data are still those. */
import { existsSync } from 'node:fs';
import { DataError } from '../device/errors.js';
import type { GPT2 } from '../models/gpt2.js';
import type { ClassifyConfig } from './classify-config.js';
import type { ClassifyData } from './classify-data.js';
import { type ClassifyRecord, readClassifyRun, RESULT } from './classifier-run.js';
import type { RunFolder } from './run-folder.js';

/** What config.json holds. */
export function recordOf(
  config: ClassifyConfig,
  { digest }: ClassifyData,
  base: GPT2 | null,
  resolved: Record<string, unknown>,
  fold: number | null,
): ClassifyConfig & ClassifyRecord {
  return { ...config, resolved, digest, gpt2: base?.config ?? null, fold };
}

/** @throws DataError where a run began with other data, or has finished */
export function checkResumable(run: RunFolder, { digest }: ClassifyData): void {
  const { record } = readClassifyRun(run);
  if (record.digest !== digest) {
    throw new DataError(
      `classify: expected the documents and splits that the run began with (SHA-256 ${record.digest.slice(0, 12)}…), got others (${digest.slice(0, 12)}…)`,
    );
  }
  if (existsSync(run.file(RESULT)))
    throw new DataError(`classify: expected a run to go on with, got ${run.path}, which has finished`);
}
