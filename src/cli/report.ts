/** `dawngrad report`: the page of a run, made again from its files. */

import { join } from 'node:path';
import type { Command } from 'commander';
import { writeFileAtomic } from '../data/atomic-file.js';
import { DataError } from '../device/errors.js';
import { formatMetricRows } from '../train/classifier-report.js';
import { reportRun } from '../train/run-report.js';

/** `dawngrad report`. */
export function addReportCommand(program: Command): void {
  program
    .command('report')
    .description('make the page of a run again from its files: curves, result, and where a classifier errs')
    .argument('<runs...>', 'run folders of any command')
    .option('--html <file>', 'where the page of a single run goes; default: report.html in its folder')
    .addHelpText(
      'after',
      `
The page is one HTML file without script. Of a run that has not finished it shows what there is.

Examples:
  $ dawngrad report runs/sotu
  $ dawngrad report runs/* && open runs/moby-dick/report.html
  $ dawngrad report runs/sotu/fold-2 --html fold.html`,
    )
    .action((runs: string[], { html }: { html?: string }) => report(runs, html));
}

async function report(runs: readonly string[], to: string | undefined): Promise<void> {
  if (to !== undefined && runs.length > 1) {
    throw new DataError(`report: expected one run beside --html, got ${runs.length}`);
  }
  for (const path of runs) {
    const made = await reportRun(path).catch((cause: unknown) => {
      // Among runs/* there may be other folders, as those of a search.
      if (runs.length === 1 || !(cause instanceof DataError)) throw cause;
      console.error(`dawngrad: ${cause.message}`);
      process.exitCode = 1;
    });
    if (!made) continue;
    const { html, rows } = made;
    const file = to ?? join(path, 'report.html');
    try {
      await writeFileAtomic(file, [html]);
    } catch (cause) {
      throw new DataError(`report: cannot write ${file}: ${(cause as Error).message}`, { cause });
    }
    if (rows !== null) process.stdout.write(formatMetricRows(rows));
    console.log(file);
  }
}
