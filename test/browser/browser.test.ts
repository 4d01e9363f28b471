/** The engine in a browser: headless Chromium, WebGPU on SwiftShader, and the CPU device's WebAssembly. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cpuDevice } from '../../src/tensor/default-device.js';
import { conformanceCases } from '../conformance.js';
import { opInfo } from '../op-info.js';
import { browserProblem, type OpenPage, openPage } from '../support/browser.js';
import { total } from '../support/run-all.js';
import { trainingLosses } from '../support/training-losses.js';
import type { Kind, Page } from './page.js';

declare const dawngrad: Page;

const reason = browserProblem ? ` (skipped: ${browserProblem})` : '';

describe.skipIf(browserProblem !== null)(`browser${reason}`, () => {
  let open: OpenPage;
  beforeAll(async () => {
    open = await openPage(new URL('./page.ts', import.meta.url));
  });
  afterAll(() => open?.close());

  /** Calls a function of the page. */
  const call = <K extends keyof Page>(name: K, ...args: Parameters<Page[K]>): ReturnType<Page[K]> =>
    open.page.evaluate(
      ([name, args]) => (dawngrad[name as keyof Page] as (...args: unknown[]) => unknown)(...args),
      [name, args] as [string, unknown[]],
    ) as ReturnType<Page[K]>;

  const kinds: [Kind, RegExp][] = [
    ['webgpu', /swiftshader/i],
    ['cpu', /WebAssembly/],
  ];
  describe.each(kinds)('%s', (kind, name) => {
    it('opens', async () => {
      expect(await call('name', kind)).toMatch(name);
    });

    for (const row of opInfo) {
      const { length } = conformanceCases(cpuDevice(), [row]);
      it(`conformance of ${row.name}: ${length} cases`, async () => {
        const report = await call('conformance', kind, row.name);
        const { passed, failed, skipped } = total(report);
        expect(report.failures).toEqual([]);
        expect(report.skips).toEqual({});
        expect({ cases: passed + failed + skipped }).toEqual({ cases: length });
      });
    }

    it("ten training steps give Node's losses", async () => {
      const expected = await trainingLosses(cpuDevice());
      const losses = await call('train', kind);
      expect(losses).toHaveLength(10);
      const errors = losses.map((loss, i) => Math.abs(loss / expected[i] - 1));
      expect(Math.max(...errors)).toBeLessThan(1e-5);
      expect(losses[9]).toBeLessThan(losses[0]);
    });

    it('closes', async () => {
      await call('close', kind);
      expect(open.errors).toEqual([]);
    });
  });
});
