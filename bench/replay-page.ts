/** `replayCost` for a page of a browser; bundled by esbuild, called by dispatch.ts. */
import { openDevice } from '../src/index.js';
import { type ReplayCost, replayCost } from './replay.js';

declare global {
  var measureReplay: (rounds: number) => Promise<ReplayCost>;
}

globalThis.measureReplay = async (rounds) => {
  const device = await openDevice({ device: 'webgpu', adapter: 'software' });
  const cost = await replayCost(device, rounds);
  await device.close();
  return cost;
};
