/** Wall-clock time of a call, in batches that end with one wait for the device. */
import benny from 'benny';
import type { Device } from '../src/device/types.js';

/** benny prints as it goes; our tables come after. */
async function quietly<T>(fn: () => Promise<T>): Promise<T> {
  const { log } = console;
  console.log = () => {};
  try {
    return await fn();
  } finally {
    console.log = log;
  }
}

/**
 * Median seconds of one call. The batch grows until it takes a twentieth of `seconds`, so that the wait at its end is
 * spread over many calls, and benny times batches for about `seconds`.
 */
export async function secondsPerCall(
  device: Device,
  name: string,
  call: () => void,
  seconds: number,
): Promise<number> {
  const batch = async (n: number): Promise<number> => {
    const start = performance.now();
    for (let i = 0; i < n; i++) call();
    await device.synchronize();
    return (performance.now() - start) / 1000;
  };
  // Kernels compile in the first call.
  await batch(1);
  let n = 1;
  while ((await batch(n)) < seconds / 20 && n < 2048) n *= 2;
  const summary = await quietly(() =>
    benny.suite(
      name,
      benny.add(name, async () => void (await batch(n)), {
        minSamples: 5,
        minTime: seconds / 20,
        maxTime: seconds,
        delay: 0,
      }),
    ),
  );
  return summary.results[0].details.median / n;
}
