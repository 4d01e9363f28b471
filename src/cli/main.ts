#!/usr/bin/env node
/** The command `dawngrad`. */
import { createRequire } from 'node:module';
import { Command } from 'commander';
import { addChatCommand } from './chat.js';
import { addClassifyCommand } from './classify.js';
import { addDevicesCommand } from './devices.js';
import { addExploreCommand } from './explore.js';
import { addFinetuneCommand } from './finetune.js';
import { addGenerateCommand } from './generate.js';
import { followParent } from './parent.js';
import { addPredictCommand } from './predict.js';
import { addQACommand } from './qa.js';
import { addReportCommand } from './report.js';
import { runProgram } from './run-program.js';
import { addRunsCommand } from './runs.js';
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
await runProgram(program, 'dawngrad');
