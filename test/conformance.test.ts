import { cpuDevice } from '../src/tensor/default-device.js';
import { conformanceCases, oracleCases } from './conformance.js';
import { readGolden } from './golden/read.js';
import { opInfo } from './op-info.js';
import { runCases } from './support/run-cases.js';

runCases('oracle', oracleCases(opInfo, readGolden()));
runCases('cpu', conformanceCases(cpuDevice(), opInfo));
