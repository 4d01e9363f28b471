/** A process for one first step: tsx bench/cold.ts DEVICE ADAPTER STEP; prints a ColdReport. */
import { openDevice } from '../src/index.js';
import { type ColdReport, prepareStep, STEPS } from './steps.js';

const [, , device, adapter, name] = process.argv;
const start = performance.now();
const opened = await openDevice({ device: device as 'cpu' | 'webgpu', adapter: adapter || undefined });
const openMs = performance.now() - start;
const { ms: firstMs } = await prepareStep(STEPS.find((s) => s.name === name)!, 'captured').once();
const report: ColdReport = { name, openMs, firstMs };
console.log(JSON.stringify(report));
await opened.close();
