import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DataError } from '../../src/device/errors.js';
import { measureModels } from '../../src/train/classifier-report.js';
import { errorSections, type JudgedDocument, lengthBins } from '../../src/train/error-report.js';
import { curveSection } from '../../src/train/run-curves.js';
import { reportRun } from '../../src/train/run-report.js';
import { writeClassifierRun } from '../support/classifier-runs.js';

let folder: string;
const at = (name: string): string => join(folder, name);
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'dawngrad-report-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const jsonLines = (lines: readonly unknown[]): string =>
  lines.map((line) => `${JSON.stringify(line)}\n`).join('');

/** 40 documents, the model right but for every fifth; from `fold`, where given, the number differs. */
const predictions = (fold?: number) =>
  Array.from({ length: 40 }, (_, i) => {
    const label = i % 2;
    const said = i % 5 === 0 ? 1 - label : label;
    return {
      id: `document ${i}${fold === undefined ? '' : ` of ${fold}`}`,
      group: `group <${i % 4}>`,
      title: `Title ${i} & more`,
      split: i < 20 ? 'train' : 'test',
      label,
      characters: 100 * (i + 1),
      probability: 0.5 + (said - 0.5) * (0.5 + i / 100),
      bow: 0.25 + i / 100,
      prior: 0.5,
    };
  });

function resultOf(lines: ReturnType<typeof predictions>) {
  const test = lines.filter(({ split }) => split === 'test');
  const labels = test.map(({ label }) => label);
  const named = { 'bag of words': 'bow', 'this model': 'probability', prior: 'prior' } as const;
  const models = Object.entries(named).map(([name, key]) => ({
    name,
    scores: test.map((line) => line[key]),
    labels,
  }));
  const counts = { documents: 20, positives: 10, groups: 4, tokens: 5000 };
  return {
    step: 30,
    stopped: 'finished',
    seconds: 1,
    best: { step: 20, validation: 0.5, prAuc: 0.8 },
    parameters: { total: 1234, trainable: 1234 },
    threshold: 0.5,
    thresholds: { model: 0.5, bow: 0.5, prior: 0.5 },
    parts: { train: counts, validation: counts, test: counts },
    twins: { documents: 0, divided: 0 },
    test: measureModels(models, { resamples: 50 }),
  };
}

const METRICS = [
  ...Array.from({ length: 10 }, (_, i) => ({
    step: i + 1,
    loss: 0.7 - i / 100,
    lr: 1e-3,
    tokensPerSecond: 9,
  })),
  { step: 10, validation: 0.66, prAuc: 0.7, rocAuc: 0.75 },
  { step: 20, loss: 0.5, lr: 5e-4 },
  { step: 20, validation: 0.61, prAuc: 0.8, rocAuc: 0.85 },
];

async function classifierRun(
  path: string,
  { fold = null, folds = 0 }: { fold?: number | null; folds?: number } = {},
) {
  const lines = predictions(fold ?? undefined);
  await writeClassifierRun(path, { config: { folds }, fold, result: resultOf(lines) });
  writeFileSync(join(path, 'predictions.jsonl'), jsonLines(lines));
  writeFileSync(join(path, 'metrics.jsonl'), jsonLines(METRICS));
  return lines;
}

/** Tags that are opened are closed again. */
function expectWhole(html: string): void {
  expect(html.startsWith('<!doctype html>')).toBe(true);
  for (const tag of ['section', 'table', 'svg', 'div', 'tr']) {
    const count = (pattern: string) => html.match(new RegExp(pattern, 'g'))?.length ?? 0;
    expect(count(`<${tag}[ >]`)).toBe(count(`</${tag}>`));
  }
  expect(/NaN|>undefined|\[object/.exec(html)).toBeNull();
}

describe('reportRun', () => {
  it('draws a classifier from its files', async () => {
    await classifierRun(at('classifier'));
    const { html, rows } = await reportRun(at('classifier'));
    expectWhole(html);
    expect(rows!.map(({ name }) => name)).toEqual(['bag of words', 'this model', 'prior']);
    const titles = [...html.matchAll(/<h2>(.*?)<\/h2>/g)].map(([, title]) => title);
    expect(titles).toEqual([
      'Metrics',
      'Ranking',
      'Calibration',
      'Decisions',
      'Lengths',
      'Most wrong',
      'Training',
      'Documents',
      'Settings',
    ]);
    expect(html).toContain('20 test documents; 1,234 parameters trained, best at step 20 of 30.');
    // Of 20 documents four are wrong: 20, 25, 30 and 35; the last is said with the most certainty.
    expect(html).toContain('4 of 20 documents are wrong at the threshold:');
    const wrong = [...html.matchAll(/Title (\d+) &amp; more/g)].map(([, i]) => Number(i));
    expect(wrong).toEqual([35, 30, 25, 20]);
    expect(html).toContain('group &lt;3&gt;');
    expect(html).toContain('lowest loss on validation 0.6100 at step 20');
    for (const title of ['ROC', 'Errors by length', 'Loss', 'Ranking of the validation documents']) {
      expect(html).toContain(`aria-label="${title}"`);
    }
  });

  it('puts the folds of a cross-validation side by side', async () => {
    const whole = at('folds');
    const config = { folds: 2 };
    await writeClassifierRun(whole, { config });
    const lines = [];
    for (const fold of [1, 2]) {
      const own = await classifierRun(join(whole, `fold-${fold}`), { fold, folds: 2 });
      lines.push(...own.filter(({ split }) => split === 'test').map((line) => ({ ...line, fold })));
    }
    writeFileSync(join(whole, 'predictions.jsonl'), jsonLines(lines));
    const { test, twins } = resultOf(lines);
    writeFileSync(join(whole, 'result.json'), JSON.stringify({ folds: [], twins, test }));
    const { html, rows } = await reportRun(whole);
    expectWhole(html);
    expect(rows![1].documents).toBe(40);
    expect(html).toContain('Classifier of texts, 2 folds');
    expect(html).toContain('8 of 40 documents are wrong at the threshold:');
    expect(html).toMatch(/aria-label="PR-AUC on validation"[\s\S]*fold 1[\s\S]*fold 2/);
    expect((await reportRun(join(whole, 'fold-2'))).html).toContain('Classifier of texts, fold 2 of 2');
  });

  it('reads undefined figures, which JSON has as null', async () => {
    const lines = await classifierRun(at('one-class'));
    const ones = lines.map((line) => ({ ...line, label: line.split === 'test' ? 1 : 0 }));
    const result = resultOf(ones);
    expect(result.test[0].metrics.rocAuc.value).toBeNaN();
    writeFileSync(at('one-class/result.json'), JSON.stringify(result));
    writeFileSync(at('one-class/predictions.jsonl'), jsonLines(ones));
    const { html, rows } = await reportRun(at('one-class'));
    expectWhole(html);
    expect(rows![0].metrics.rocAuc.value).toBeNaN();
    expect(rows![0].against).toBeNull();
    expect(html).toContain('metrics of two classes are undefined');
  });

  it('shows what there is of a run that has not finished', async () => {
    await classifierRun(at('unfinished'));
    rmSync(at('unfinished/result.json'));
    const { html, rows } = await reportRun(at('unfinished'));
    expectWhole(html);
    expect(rows).toBeNull();
    expect(html).toContain('The run has not finished');
    expect(html).toContain('aria-label="Loss"');
    mkdirSync(at('fresh'));
    writeFileSync(at('fresh/config.json'), '{"steps":5,"text":null}');
    const fresh = (await reportRun(at('fresh'))).html;
    expectWhole(fresh);
    expect(fresh).toContain('No step has been recorded yet.');
  });

  it('draws runs of other commands: curves against counts, figures, tables, settings', async () => {
    mkdirSync(at('finetune'));
    writeFileSync(at('finetune/config.json'), '{"model":"gpt2","targets":["c_attn"],"lr":0.001,"size":null}');
    writeFileSync(at('finetune/metrics.jsonl'), jsonLines([...METRICS, { step: 21, loss: null }]));
    const held = { name: 'validation', tokens: 16531, unigram: 5.25, bigram: 3.5, bitsPerCharacter: 1.97 };
    const samples = { before: [], after: [{ prompt: 'Q <b>', text: 'A & B' }] };
    writeFileSync(
      at('finetune/result.json'),
      JSON.stringify({ step: 20, best: { step: 9 }, heldOut: [held], samples }),
    );
    const { html, rows } = await reportRun(at('finetune'));
    expectWhole(html);
    expect(rows).toBeNull();
    expect(html).toContain('unigram 5.250');
    expect(html).toContain('bigram 3.500');
    expect(html).toContain('bits per character');
    expect(html).toContain('16,531');
    expect(html).toContain('Q &lt;b&gt;');
    expect(html).toContain('[&quot;c_attn&quot;]');
  });

  it('names what cannot be read', async () => {
    await expect(reportRun(at('nowhere'))).rejects.toThrow('no such folder');
    await classifierRun(at('broken'));
    writeFileSync(at('broken/predictions.jsonl'), '{"id":1}\n{"id"');
    await expect(reportRun(at('broken'))).rejects.toThrow(
      `report: ${at('broken/predictions.jsonl')}:2 is not JSON`,
    );
    rmSync(at('broken/predictions.jsonl'));
    await expect(reportRun(at('broken'))).rejects.toThrow(DataError);
  });
});

describe('lengthBins', () => {
  const document = (characters: number | undefined, isWrong = false): JudgedDocument => ({
    name: 'x',
    group: 'x',
    label: 1,
    probability: isWrong ? 0.1 : 0.9,
    threshold: 0.5,
    characters,
  });

  it('cuts documents into bins of about as many, which hold all of them once', () => {
    const all = Array.from({ length: 47 }, (_, i) => document((i * 29) % 47, i % 3 === 0));
    const bins = lengthBins(all);
    expect(bins).toHaveLength(5);
    expect(bins.flatMap(({ documents }) => documents.map((d) => d.characters))).toEqual(
      Array.from({ length: 47 }, (_, i) => i),
    );
    for (const { documents, from, to, errors } of bins) {
      expect(documents.length).toBeGreaterThanOrEqual(9);
      expect([from, to]).toEqual([documents[0].characters, documents.at(-1)!.characters]);
      expect(errors).toBe(documents.filter(({ probability }) => probability < 0.5).length);
    }
  });

  it('keeps equal lengths together, and leaves out what has none', () => {
    const same = Array.from({ length: 40 }, () => document(7));
    expect(lengthBins(same)).toMatchObject([{ from: 7, to: 7, errors: 0 }]);
    expect(lengthBins([...same, document(9)]).map(({ from }) => from)).toEqual([7]);
    expect(lengthBins([document(undefined)])).toEqual([]);
    expect(lengthBins([document(3), document(1)])).toHaveLength(1);
    expect(errorSections([])).toEqual([]);
    expect(errorSections([document(undefined)]).map(({ title }) => title)).toEqual(['Most wrong']);
    expect(errorSections([document(5)])[1].body).toContain('None of 1 documents is wrong');
  });
});

describe('curveSection', () => {
  it('takes what a run records, with gaps', () => {
    const lines = [
      { step: 1, loss: null },
      { step: 2, loss: 3 },
      { step: 2, validation: null },
    ];
    const { body } = curveSection({ lines });
    expect(body).toContain('2 steps.');
    expect(body).not.toContain('NaN');
  });
});
