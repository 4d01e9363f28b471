import { extname } from 'node:path';
import { type Command, Option } from 'commander';
import { writeFileAtomic } from '../data/atomic-file.js';
import { DataError } from '../device/errors.js';
import { findRuns, metricNames, openRuns, points, type Run } from '../train/runs.js';
import { runsHtml, runsSvg } from '../train/runs-plot.js';
import { compareRuns, differingSettings, formatComparison, formatList } from '../train/runs-table.js';
import { number } from './options.js';

interface Flags {
  in: string;
  json?: boolean;
}

interface PlotFlags extends Flags {
  metric?: string[];
  output: string;
  smooth: number;
  log: 'none' | 'x' | 'y' | 'both';
}

/** `dawngrad runs`: what run folders hold, side by side. */
export function addRunsCommand(program: Command): void {
  const runs = program.command('runs').description('list, compare and plot runs of any command or recipe');
  const where = () => new Option('--in <folder>', 'the folder of all runs').default('runs');
  const json = () => new Option('--json', 'print JSON');
  runs
    .command('list', { isDefault: true })
    .description('all runs in a folder: how far they came, losses, settings that differ')
    .argument('[folder]', 'the folder of all runs', 'runs')
    .addOption(json())
    .action(list);
  runs
    .command('compare')
    .description('settings that differ, and results')
    .argument('<run...>', 'names in the folder of all runs, or paths')
    .addOption(where())
    .addOption(json())
    .action(compare);
  runs
    .command('plot')
    .description('curves of several runs in one SVG, or on an HTML page with tables')
    .argument('[run...]', 'names in the folder of all runs, or paths; default: all that have the metric')
    .addOption(where())
    .option('--metric <name...>', 'a name in metrics.jsonl (default: loss; of a page: loss and validation)')
    .option('-o, --output <file>', '.svg or .html', 'runs.svg')
    .option('--smooth <share>', 'share of the points over which each one is averaged', number(0, 1), 0)
    .addOption(
      new Option('--log <axes>', 'logarithmic axes').choices(['none', 'x', 'y', 'both']).default('none'),
    )
    .addOption(json())
    .addHelpText(
      'after',
      `
Examples:
  $ dawngrad runs
  $ dawngrad runs compare gpt2-lora gpt2-qlora
  $ dawngrad runs plot gpt2-lora gpt2-qlora --metric validation -o held-out.svg
  $ dawngrad runs plot --metric loss validation --smooth 0.05 --log y -o runs.html`,
    )
    .action(plot);
}

/** JSON has no numbers that are not finite: they become null. */
function print(value: unknown): void {
  console.log(JSON.stringify(value, undefined, 2));
}

async function list(folder: string, { json }: Flags): Promise<void> {
  const found = await findRuns(folder);
  if (!json) {
    console.log(formatList(found));
    return;
  }
  const runs = found.runs.map(({ metrics: _, ...run }) => ({
    ...run,
    differing: differingSettings(found.runs.filter(({ kind }) => kind === run.kind)),
  }));
  print({ runs, foreign: found.foreign });
}

async function compare(names: string[], { in: base, json }: Flags): Promise<void> {
  const runs = await openRuns(names, base);
  if (json) print({ runs: runs.map(({ name, path, kind }) => ({ name, path, kind })), ...compareRuns(runs) });
  else console.log(formatComparison(runs));
}

async function plot(names: string[], flags: PlotFlags): Promise<void> {
  const { in: base, metric, output, smooth, log, json } = flags;
  const type = extname(output).toLowerCase();
  if (type !== '.svg' && type !== '.html')
    throw new DataError(`runs: expected a file that ends in .svg or .html, got ${output}`);
  const all = names.length > 0 ? await openRuns(names, base) : (await findRuns(base)).runs;
  const there = metricNames(all);
  const usual = type === '.html' ? ['loss', 'validation'].filter((name) => there.includes(name)) : [];
  const metrics = metric ?? (usual.length > 0 ? usual : ['loss']);
  if (type === '.svg' && metrics.length > 1)
    throw new DataError(
      `runs: expected one metric for an SVG, got ${metrics.join(', ')}; write several into an .html file`,
    );
  const has = (run: Run) => metrics.some((name) => points(run.metrics, name).length > 0);
  const some = all.filter(has);
  // Without any, the message names the metrics that there are.
  const runs = some.length > 0 ? some : all;
  const options = { smooth, log };
  const text = type === '.svg' ? runsSvg(runs, metrics[0], options) : runsHtml(runs, metrics, options);
  try {
    await writeFileAtomic(output, [text]);
  } catch (cause) {
    throw new DataError(`runs: cannot write ${output}: ${(cause as Error).message}`, { cause });
  }
  const without = all.filter((run) => !has(run)).map(({ name }) => name);
  if (json) {
    print({ output, metrics, runs: runs.map(({ name }) => name), without });
    return;
  }
  console.log(`${metrics.join(', ')} of ${runs.map(({ name }) => name).join(', ')}: ${output}`);
  if (without.length > 0 && names.length > 0) console.log(`Without: ${without.join(', ')}`);
}
