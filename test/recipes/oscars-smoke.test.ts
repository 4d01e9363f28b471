/** The smoke script of the recipe `oscars`: that it finds what is wrong, and that it runs from end to end. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { randomScreenplay } from '../../recipes/oscars/screenplay.js';
import { type Judge, smokeCheck } from '../../recipes/oscars/smoke-check.js';
import { cpuDevice } from '../../src/index.js';
import { type Prediction, Predictor, type UnseenDocument } from '../../src/node.js';
import { writeClassifierRun } from '../support/classifier-runs.js';

const SMOKE = fileURLToPath(new URL('../../recipes/oscars/smoke.ts', import.meta.url));
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'dawngrad-smoke-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const TEXT = randomScreenplay({ seed: 1, scenes: 2 });

/** A judge that says what `p` says of a text, its place, and the number of the call. */
function judge(p: (text: string, at: number, count: number, call: number) => number): Judge {
  let calls = 0;
  return {
    async *predict(documents) {
      const all: UnseenDocument[] = [];
      for await (const document of documents) all.push(document);
      const call = calls++;
      for (const [i, { name, text }] of all.entries()) {
        const probability = p(text, i, all.length, call);
        yield {
          name,
          probability,
          verdict: 0,
          tokens: 1,
          tokensRead: 1,
          chunks: null,
          top: [],
        } as Prediction;
      }
    },
  };
}
const issuesOf = async (by: Judge, again = by) => (await smokeCheck(by, TEXT, again)).issues.join('\n');

describe('smokeCheck', () => {
  it('finds what is wrong', async () => {
    const sound = judge((text) => 1 / (2 + text.length));
    expect(await issuesOf(sound)).toBe('');
    expect(await issuesOf(judge(() => Number.NaN))).toContain('the probability is NaN, not from 0 to 1');
    expect(await issuesOf(judge(() => 1.01))).toContain('the probability is 1.01');
    expect(await issuesOf(judge((_, _at, _n, call) => 0.5 + call / 1e9))).toMatch(/^a second time gives/);
    expect(
      await issuesOf(
        sound,
        judge(() => 0.1),
      ),
    ).toMatch(/^the model opened again gives 0\.1, not/);
    // Padding that shows, by the place or by the company.
    expect(await issuesOf(judge((_, at) => 0.5 + at / 100))).toMatch(
      /^beside a longer document gives 0\.51, not 0\.5\namong many gives 0\.53, not 0\.5$/,
    );
    expect(await issuesOf(judge((_, _at, count) => 0.5 + (count - 1) / 1000))).toContain(
      'beside a shorter document',
    );
    expect(await issuesOf(judge((text) => (text === '' ? Number.NaN : 0.5)))).toBe(
      'of "" the probability is NaN',
    );
    const few = judge(() => 0.5);
    const none: Judge = {
      async *predict(documents, options) {
        let left = 1;
        for await (const prediction of few.predict(documents, options)) if (left-- > 0) yield prediction;
      },
    };
    expect(await issuesOf(none)).toContain('among many gives undefined');
  });

  it.each([
    { pooling: 'attention', overlap: 4 },
    { pooling: 'transformer', maxChunks: 5 },
    { encoder: 'encoder-decoder', pooling: 'max' },
    { encoder: 'window', window: 8, maxTokens: 512 },
  ])('finds nothing wrong with %j', async (config) => {
    const path = join(folder, Object.values(config).join('-'));
    await writeClassifierRun(path, { config });
    const open = () => Predictor.open(path, cpuDevice());
    const { prediction, issues } = await smokeCheck(await open(), TEXT, await open());
    expect(issues).toEqual([]);
    expect(prediction.probability).toBeGreaterThan(0);
  });
});

describe('randomScreenplay', () => {
  it('is the same for the same seed, and of the wanted length', () => {
    expect(randomScreenplay({ seed: 1, scenes: 2 })).toBe(TEXT);
    expect(randomScreenplay({ seed: 2, scenes: 2 })).not.toBe(TEXT);
    const scenes = (text: string) => text.match(/^(INT|EXT)\. /gm)!.length;
    expect(scenes(TEXT)).toBe(2);
    expect(scenes(randomScreenplay({ seed: 1, scenes: 50, kind: 1 }))).toBe(50);
    expect(randomScreenplay({ seed: 5, scenes: 20, kind: 0 })).not.toMatch(/grief|funeral|piano/);
  });
});

it('refuses a number that is none', () => {
  const args = ['--import', import.meta.resolve('tsx'), SMOKE, '--scenes', 'many'];
  const { stdout, stderr, status } = spawnSync(process.execPath, args, {
    encoding: 'utf8',
    timeout: 120_000,
  });
  expect(stderr).toContain("argument 'many' is invalid. expected an integer of at least 0.");
  expect(stdout).toBe('');
  expect(status).toBe(1);
}, 120_000);

it('runs from end to end: trains a little, judges, and has no issues', () => {
  const args = [
    '--import',
    import.meta.resolve('tsx'),
    SMOKE,
    '--device',
    'cpu',
    '--scenes',
    '5',
    '--seed',
    '3',
  ];
  const { stdout, stderr, status } = spawnSync(process.execPath, args, {
    encoding: 'utf8',
    timeout: 120_000,
  });
  expect(stderr).toBe('');
  expect(stdout).toMatch(/^Probability {2}0\.\d{6}: (not )?class 1 at a threshold of /m);
  expect(stdout).toMatch(/^no issues$/m);
  expect(status).toBe(0);
}, 300_000);
