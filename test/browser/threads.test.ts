/** Threads of the CPU device in headless Chromium: in pages that are cross-origin isolated, and one thread in others. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openCPU } from '../../src/device/cpu/device.js';
import { browserProblem, type OpenPage, openPage } from '../support/browser.js';
import { trainingLosses } from '../support/training-losses.js';
import type { ThreadsPage } from './threads-page.js';

declare const dawngrad: ThreadsPage;

const reason = browserProblem ? ` (skipped: ${browserProblem})` : '';

describe.skipIf(browserProblem !== null)(`browser threads${reason}`, () => {
  describe.each([
    [true, [1, 2, 4]],
    [false, [4]],
  ])('cross-origin isolated: %s', (isolated, counts) => {
    let open: OpenPage;
    beforeAll(async () => {
      open = await openPage(new URL('./threads-page.ts', import.meta.url), { isolated });
    });
    afterAll(() => open?.close());

    it('is what the headers say', async () => {
      expect(await open.page.evaluate(() => dawngrad.isolated())).toBe(isolated);
    });

    describe.each(counts)('%i threads asked for', (count) => {
      it('as many start, or one where memory cannot be shared', async () => {
        const threads = isolated ? count : 1;
        expect(await open.page.evaluate((n) => dawngrad.threads(n), count)).toEqual([threads, threads - 1]);
      });

      it('the op table conforms', async () => {
        const report = await open.page.evaluate((n) => dawngrad.conformance(n), count);
        expect(report.failures).toEqual([]);
        expect(Object.values(report.groups).reduce((sum, { passed }) => sum + passed, 0)).toBeGreaterThan(
          1000,
        );
      }, 600_000);

      it("the bits are those of one thread, and ten training steps give Node's losses", async () => {
        expect(await open.page.evaluate((n) => dawngrad.differing(n), count)).toEqual([]);
        const expected = await trainingLosses(openCPU({ threads: 1 }));
        const losses = await open.page.evaluate((n) => dawngrad.train(n), count);
        expect(losses).toHaveLength(10);
        const errors = losses.map((loss, i) => Math.abs(loss / expected[i] - 1));
        expect(Math.max(...errors)).toBeLessThan(1e-5);
      }, 120_000);
    });

    it('closes', async () => {
      await open.page.evaluate(() => dawngrad.close());
      expect(open.errors).toEqual([]);
    });
  });
});
