import { DataError } from '../device/errors.js';
import { listRuns, RunFolder } from '../train/run-folder.js';

/** A run to go on with, and the device that was asked for, if any. */
export interface Resumed {
  readonly run: RunFolder;
  readonly device?: string;
  readonly adapter?: string;
}

/**
 * Opens the run that --resume names.
 *
 * @param command how a new run is started: 'finetune'
 * @param out the folder of all runs
 * @param which the run; true for the latest in `out`
 * @param given settings beside --resume, --config among them
 * @throws DataError where there is none, or a setting is given that a resumed run keeps
 */
export async function openResumed(
  command: string,
  out: string,
  which: string | true,
  given: Readonly<Record<string, unknown>>,
): Promise<Resumed> {
  const [job] = command.split(' ');
  const path = which === true ? (await listRuns(out))[0]?.path : which;
  if (path === undefined) {
    throw new DataError(
      `${job}: expected a run to resume in ${out}, got none; start one with: dawngrad ${command}`,
    );
  }
  const run = await RunFolder.open(path);
  const { device, adapter, ...changed } = given as { device?: string; adapter?: string };
  const names = Object.keys(changed);
  if (names.length > 0) {
    throw new DataError(
      `${job}: expected no settings beside --resume, --device and --adapter, got ${names.join(', ')}; a resumed run keeps its own (${run.file('config.json')})`,
    );
  }
  return { run, device, adapter };
}
