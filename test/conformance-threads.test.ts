/** The op table on the CPU device with every call cut for threads, however small; and with one thread. */
import { afterAll } from 'vitest';
import { conformanceCases } from './conformance.js';
import { opInfo } from './op-info.js';
import { runCases } from './support/run-cases.js';
import { openThreads } from './support/threads-cases.js';

for (const threads of [1, 2, 4]) {
  const device = await openThreads(threads);
  afterAll(() => device.close());
  runCases(`cpu, ${threads} threads`, conformanceCases(device, opInfo));
}
