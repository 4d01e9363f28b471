#!/usr/bin/env node
/** The command `dawngrad`. */
import { createRequire } from 'node:module';
import { Command } from 'commander';
import { DawngradError } from '../device/errors.js';
import { addChatCommand } from './chat.js';
import { addClassifyCommand } from './classify.js';
import { addDevicesCommand } from './devices.js';
import { addExploreCommand } from './explore.js';
import { addFinetuneCommand } from './finetune.js';
import { addGenerateCommand } from './generate.js';
import { addPredictCommand } from './predict.js';
import { addQACommand } from './qa.js';
import { followParent } from './parent.js';
import { addRunsCommand } from './runs.js';
import { addReportCommand } from './report.js';
import { addTrainCommand } from './train.js';
import { addTuneCommand } from './tune.js';

const { version } = createRequire(import.meta.url)('../../package.json') as { version: string };

const program = new Command('dawngrad')
  .description('Tensors and gradients in TypeScript, on a GPU through WebGPU or on the CPU.')
  .version(version)
  .showHelpAfterError('(--help shows what is possible)');
addTrainCommand(program);
addFinetuneCommand(program);
addClassifyCommand(program);
addGenerateCommand(program);
addChatCommand(program);
addDevicesCommand(program);
addExploreCommand(program);
addPredictCommand(program);
addReportCommand(program);
addQACommand(program);
addTuneCommand(program);
addRunsCommand(program);

followParent();
try {
  await program.parseAsync();
} catch (e) {
  // What we throw on purpose is written for people; anything else is a bug and keeps its stack.
  if (!(e instanceof DawngradError)) throw e;
  console.error(`dawngrad: ${e.message}`);
  process.exitCode = 1;
}
