/**
 * Time and host memory of loading GPT-2's 124M shapes, from a file of random bits that this script writes.
 *
 * Run: npx tsx scripts/measure-load.ts [F32 | F16 | BF16]
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { models, openDevice } from '../src/index.js';
import { loadGPT2, saveGPT2 } from '../src/node.js';

const MIB = 2 ** 20;
const dtype = (process.argv[2] ?? 'F32') as 'F32' | 'F16' | 'BF16';
const device = await openDevice();
const folder = await mkdtemp(join(tmpdir(), 'dawngrad-load-'));
try {
  const config = models.gpt2Config('gpt2');
  let start = performance.now();
  const model = new models.GPT2(config, { initialize: false });
  console.log(
    `${device.info.name}: made without first values in ${(performance.now() - start).toFixed(0)} ms`,
  );
  await saveGPT2(folder, model, undefined, { dtype });
  for (const p of model.parameters()) p.release();

  const before = process.memoryUsage();
  let arrays = 0;
  let resident = 0;
  start = performance.now();
  await loadGPT2(folder, {
    onProgress: () => {
      const now = process.memoryUsage();
      arrays = Math.max(arrays, now.arrayBuffers);
      resident = Math.max(resident, now.rss);
    },
  });
  const seconds = (performance.now() - start) / 1000;
  const mib = (bytes: number): string => `${(bytes / MIB).toFixed(0)} MiB`;
  console.log(`${dtype}: loaded in ${seconds.toFixed(1)} s`);
  console.log(
    `array buffers at most ${mib(arrays)}, resident ${mib(resident - before.rss)} more than before; ` +
      `the largest tensor has ${mib(4 * config.vocabSize * config.dim)}, all have ${mib(4 * 124_439_808)}`,
  );
} finally {
  await rm(folder, { recursive: true, force: true });
  await device.close();
}
