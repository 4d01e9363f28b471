/** `npm run recipe:frankenstein`: an LSTM that reads a novel character by character. README.md tells more. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Argument, Command } from 'commander';
import { addConfigOptions, givenSettings } from '../../src/cli/config-options.js';
import { runProgram } from '../../src/cli/run-program.js';
import { openDevice } from '../../src/index.js';
import { climb } from './climb.js';
import { compare } from './compare.js';
import { EXPERIMENTS, type Experiment, FRANKENSTEIN, type FrankensteinConfig, QUICK } from './config.js';
import { decode } from './decode.js';
import { diverge } from './diverge.js';
import { Interrupted } from './job.js';
import { letter } from './letter.js';
import { novel } from './novel.js';
import { count } from './report.js';
import type { Context } from './shared.js';
import { readSource } from './text.js';

interface Flags extends Record<string, unknown> {
  config?: string;
  quick?: boolean;
  readme?: boolean;
  out: string;
}

const STEPS: Readonly<Record<Exclude<Experiment, 'all'>, (context: Context) => Promise<unknown>>> = {
  letter,
  novel,
  diverge,
  climb,
  compare,
  decode,
};

const program = new Command('recipe:frankenstein')
  .description('a character-level LSTM on Letter 1 and on the whole of Frankenstein')
  .addArgument(new Argument('[experiment]', 'what to do').choices([...EXPERIMENTS]).default('letter'))
  .option('--quick', 'every experiment in a small size: seconds to a few minutes')
  .option('--readme', "put tables and figures into the recipe's own README as well")
  .option('--out <folder>', 'where run folders, figures and tables go', join('runs', 'frankenstein'));
addConfigOptions(program, FRANKENSTEIN)
  .addHelpText(
    'after',
    `
Runs that are finished are found again, and runs that were interrupted (Ctrl-C) go on: say the same command once more. A
change of settings makes new runs.

Examples:
  $ npm run recipe:frankenstein
  $ npm run recipe:frankenstein -- all --quick
  $ npm run recipe:frankenstein -- novel --device webgpu --share 1`,
  )
  .showHelpAfterError('(--help shows what is possible)')
  .action(start);

await runProgram(program, 'recipe:frankenstein');

async function start(experiment: Experiment, flags: Flags): Promise<void> {
  const { quick, out } = flags;
  const readme = flags.readme ? fileURLToPath(new URL('README.md', import.meta.url)) : null;
  const config: FrankensteinConfig = await FRANKENSTEIN.read({
    file: flags.config,
    environment: process.env,
    flags: { ...(quick ? QUICK : {}), ...givenSettings(flags, FRANKENSTEIN) },
  });
  await mkdir(out, { recursive: true });
  const controller = new AbortController();
  const onInterrupt = (): void => {
    if (controller.signal.aborted) process.exit(130);
    controller.abort();
  };
  process.on('SIGINT', onInterrupt);
  const device = await openDevice({ device: config.device, adapter: config.adapter ?? undefined });
  try {
    const source = await readSource(config.text);
    const log = (line: string): void => console.log(line);
    log(`Device  ${device.info.name}`);
    log(`Text    ${source.from}: ${count(source.text.length)} characters`);
    const context: Context = { config, source, device, out, log, readme, signal: controller.signal };
    const chosen = experiment === 'all' ? EXPERIMENTS.filter((e) => e !== 'all') : [experiment];
    for (const each of chosen) await STEPS[each](context);
  } catch (e) {
    if (!(e instanceof Interrupted)) throw e;
    console.log(`\nStopped; everything is saved in ${e.message}. The same command goes on.`);
  } finally {
    process.off('SIGINT', onInterrupt);
    await device.close();
  }
}
