/** What a classifier learns from: parts, groups, twins, nominations, and the order of batches. */
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import '../../src/autograd/methods.js';
import { DataError } from '../../src/device/errors.js';
import { binaryLoss } from '../../src/models/chunk-classifier.js';
import { cpuDevice } from '../../src/tensor/default-device.js';
import { tensor } from '../../src/tensor/factories.js';
import { DocumentBatches } from '../../src/train/classify-batches.js';
import { CLASSIFY, type ClassifyConfig } from '../../src/train/classify-config.js';
import { divideDocuments } from '../../src/train/classify-data.js';
import { type ClassifyDocument, readClassifyDocuments } from '../../src/train/classify-documents.js';
import { lossOf } from '../../src/train/classify-evaluate.js';
import { PARTS } from '../../src/train/classify-types.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'dawngrad-classify-data-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const read = (flags: Record<string, unknown>): Promise<ClassifyConfig> =>
  CLASSIFY.read({ flags: { data: ['documents.jsonl'], ...flags } });

/** Documents in groups of three, every third of class 1. */
const some = (n: number): ClassifyDocument[] =>
  Array.from({ length: n }, (_, i) => ({
    id: `d${i}`,
    group: `g${Math.floor(i / 3)}`,
    text: `text ${i}`,
    label: i % 3 === 0 ? 1 : 0,
    part: null,
  }));

const noTwins = (documents: readonly ClassifyDocument[]): string[] => documents.map((_, i) => `twin ${i}`);

describe('divideDocuments', () => {
  it('puts every document in one part, no group in two, and both classes in each', async () => {
    const documents = some(60);
    const config = await read({ fractions: [0.5, 0.25, 0.25], splitSeed: 3 });
    const [{ parts, fold }] = divideDocuments(documents, noTwins(documents), config);
    expect(fold).toBeNull();
    const all = PARTS.flatMap((part) => parts[part]).sort((a, b) => a - b);
    expect(all).toEqual(documents.map((_, i) => i));
    expect(parts.train).toHaveLength(30);
    const partsOf = new Map<string, Set<string>>();
    for (const part of PARTS) {
      for (const i of parts[part]) {
        const { group } = documents[i];
        partsOf.set(group, (partsOf.get(group) ?? new Set()).add(part));
      }
      expect(new Set(parts[part].map((i) => documents[i].label)).size).toBe(2);
    }
    expect([...partsOf.values()].every((where) => where.size === 1)).toBe(true);
    expect(divideDocuments(documents, noTwins(documents), await read({ splitSeed: 4 }))[0].parts).not.toEqual(
      parts,
    );
  });

  it('has each document in the test of one fold, with the groups kept together', async () => {
    const documents = some(60);
    const divisions = divideDocuments(documents, noTwins(documents), await read({ folds: 4 }));
    expect(divisions.map(({ fold }) => fold)).toEqual([1, 2, 3, 4]);
    const tested = divisions.flatMap(({ parts }) => parts.test).sort((a, b) => a - b);
    expect(tested).toEqual(documents.map((_, i) => i));
    for (const { parts } of divisions) {
      const groups = PARTS.map((part) => new Set(parts[part].map((i) => documents[i].group)));
      expect(groups[0].size + groups[1].size + groups[2].size).toBe(20);
      expect(parts.train.length + parts.validation.length + parts.test.length).toBe(60);
      // A quarter of what is not tested: 0.2 beside 0.6.
      expect(parts.validation.length).toBeGreaterThanOrEqual(9);
      expect(parts.validation.length).toBeLessThanOrEqual(14);
    }
  });

  it('keeps near-duplicates together, or counts those that it divides', async () => {
    const documents = some(60).map((d, i) => ({ ...d, group: `g${i}` }));
    // Document 2k is a twin of 2k + 1.
    const twins = documents.map((_, i) => `twin ${Math.floor(i / 2)}`);
    const [together] = divideDocuments(documents, twins, await read({}));
    expect(together.twins).toEqual({ documents: 60, divided: 0 });
    const [apart] = divideDocuments(documents, twins, await read({ twins: false }));
    expect(apart.twins.documents).toBe(60);
    expect(apart.twins.divided).toBeGreaterThan(0);
    const partOf = new Map(PARTS.flatMap((part) => apart.parts[part].map((i) => [i, part] as const)));
    const divided = documents.filter((_, i) => partOf.get(i) !== partOf.get(i ^ 1)).length;
    expect(apart.twins.divided).toBe(divided);
  });

  it('takes the splits of the data, and refuses groups in two of them', async () => {
    const part = (i: number) => PARTS[Math.floor(i / 3) % 3];
    const documents = some(27).map((d, i) => ({ ...d, part: part(i) }));
    const config = await read({ split: 'part' });
    const [{ parts }] = divideDocuments(documents, noTwins(documents), config);
    expect(parts.test).toEqual([6, 7, 8, 15, 16, 17, 24, 25, 26]);
    const broken = documents.map((d, i) => (i === 8 ? { ...d, part: 'train' as const } : d));
    expect(() => divideDocuments(broken, noTwins(broken), config)).toThrow(
      "expected no group in two splits, got 'g2' in train and test (d6) by the column part",
    );
  });

  it('names parts without one of the classes, and too few groups', async () => {
    const documents = some(12).map((d) => ({ ...d, label: d.group === 'g0' ? (1 as const) : (0 as const) }));
    await expect(async () => divideDocuments(documents, noTwins(documents), await read({}))).rejects.toThrow(
      /expected documents of both classes in \w+, got \d+ of class 0 and \d+ of class 1/,
    );
    const few = some(9);
    await expect(async () => divideDocuments(few, noTwins(few), await read({ folds: 5 }))).rejects.toThrow(
      'expected at least 5 groups, got fewer',
    );
  });
});

describe('readClassifyDocuments', () => {
  const write = async (name: string, rows: readonly unknown[]): Promise<string> => {
    const path = join(folder, name);
    await writeFile(path, rows.map((row) => JSON.stringify(row)).join('\n'));
    return path;
  };

  it('reads several sources, whose ids it keeps apart, and the column of the split', async () => {
    const rows = (n: number) =>
      Array.from({ length: n }, (_, i) => ({
        id: i,
        text: i === 1 ? '' : `text ${i}`,
        label: i % 2,
        part: ['Train', 'dev', 'test'][i % 3],
      }));
    const data = [await write('a.jsonl', rows(6)), await write('b.jsonl', rows(3))];
    const { documents, skipped } = await readClassifyDocuments(await read({ data, split: 'part' }));
    expect(new Set(documents.map(({ id }) => id)).size).toBe(7);
    // The part is that of the document's own row, though a row before it was left out.
    expect(documents.map(({ part }) => part)).toEqual([
      'train',
      'test',
      'train',
      'validation',
      'test',
      'train',
      'test',
    ]);
    expect([...skipped]).toEqual([['no text', 2]]);
    const wrong = await write('c.jsonl', [{ text: 'a', label: 1, part: 'holdout' }]);
    await expect(readClassifyDocuments(await read({ data: [wrong], split: 'part' }))).rejects.toThrow(
      'expected train, validation or test in part of row 1, got "holdout"',
    );
    await expect(readClassifyDocuments(await read({ data, split: 'portion' }))).rejects.toThrow(
      'expected a column portion',
    );
    await expect(readClassifyDocuments(await read({ data, label: 'genre' }))).rejects.toThrow(
      'expected a column genre in',
    );
  });

  it('says why there are no documents', async () => {
    const data = [
      await write('empty.jsonl', [
        { text: ' ', label: 1 },
        { text: 'a', label: null },
      ]),
    ];
    await expect(readClassifyDocuments(await read({ data }))).rejects.toThrow(
      'got none: rows 1 with no text, 1 with no label',
    );
  });

  it('takes labels from the table of nominations', async ({ skip }) => {
    const shared = fileURLToPath(new URL('../../../shared/data/', import.meta.url));
    const [films, oscars] = [join(shared, 'movies.parquet'), join(shared, 'oscars.csv')];
    if (!existsSync(films) || !existsSync(oscars)) skip('no ../shared/data on this machine');
    const config = await read({ data: [films], oscars, oscarClasses: ['Writing'], limit: 700 });
    const own = await readClassifyDocuments(await read({ data: [films], limit: 700 }));
    const { documents, joins } = await readClassifyDocuments(config);
    expect(documents).toHaveLength(own.documents.length);
    const agree = documents.filter(({ label }, i) => label === own.documents[i].label).length;
    expect(agree / documents.length).toBeGreaterThan(0.98);
    expect(joins[0].byId).toBeGreaterThan(0);
    expect(documents.some(({ label }) => label === 1)).toBe(true);
  }, 60_000);
});

describe('DocumentBatches', () => {
  const numbers = Array.from({ length: 50 }, (_, i) => i + 100);
  const lengths = numbers.map((i) => (i * 37) % 90);
  const labels = numbers.map((_, i) => (i < 5 ? 1 : 0));

  it('has every document once an epoch, in sizes that differ by one, in an order of its own', () => {
    const batches = new DocumentBatches(numbers, lengths, labels, { batchSize: 8, seed: 1 });
    expect(batches.perEpoch).toBe(7);
    const epoch = () => Array.from({ length: 7 }, () => batches.next());
    const [first, second] = [epoch(), epoch()];
    for (const e of [first, second]) {
      expect(e.flat().sort((a, b) => a - b)).toEqual(numbers);
      expect(new Set(e.map((b) => b.length)).size).toBe(2);
      expect(Math.max(...e.map((b) => b.length))).toBe(8);
    }
    expect(first).not.toEqual(second);
    // Documents of similar length come together: within a batch they differ less than they might.
    const spread = first.map((b) => {
      const own = b.map((i) => lengths[i - 100]);
      return Math.max(...own) - Math.min(...own);
    });
    expect(Math.max(...spread)).toBeLessThan(40);
  });

  it('goes on from its state, also within an epoch', () => {
    for (const balanced of [false, true]) {
      const options = { batchSize: 8, seed: 5, balanced };
      const batches = new DocumentBatches(numbers, lengths, labels, options);
      for (let i = 0; i < 11; i++) batches.next();
      const state = JSON.parse(JSON.stringify(batches.state()));
      const expected = Array.from({ length: 20 }, () => batches.next());
      const again = new DocumentBatches(numbers, lengths, labels, options);
      again.load(state);
      expect(Array.from({ length: 20 }, () => again.next())).toEqual(expected);
    }
  });

  it('draws both classes alike where it is balanced, and leaves nobody out', () => {
    const batches = new DocumentBatches(numbers, lengths, labels, { batchSize: 8, seed: 1, balanced: true });
    const drawn = new Map<number, number>();
    for (let epoch = 0; epoch < 9; epoch++) {
      let positives = 0;
      for (let b = 0; b < batches.perEpoch; b++) {
        for (const i of batches.next()) {
          drawn.set(i, (drawn.get(i) ?? 0) + 1);
          positives += labels[i - 100];
        }
      }
      expect(positives).toBe(25);
    }
    // 9 epochs of 25: each of 5 positives 45 times, each of 45 others 5 times.
    expect(numbers.map((i) => drawn.get(i))).toEqual(labels.map((l) => (l === 1 ? 45 : 5)));
  });
});

describe('lossOf', () => {
  it('is binaryLoss, also where exponentials overflow', async () => {
    const logits = [0.3, -2, 4, -0.1, 60, -60];
    const labels = [1, 0, 1, 1, 1, 0];
    const device = cpuDevice();
    for (const options of [{}, { posWeight: 3 }, { focal: 2 }, { posWeight: 0.5, focal: 1.5 }]) {
      const x = tensor(Float64Array.from(logits), { dtype: 'float32', device });
      const y = tensor(Float64Array.from(labels), { dtype: 'float32', device });
      expect(lossOf(logits, labels, options)).toBeCloseTo(await binaryLoss(x, y, options).item(), 5);
    }
    expect(lossOf([-1000], [1], {})).toBe(1000);
  });
});

describe('CLASSIFY', () => {
  it('refuses what makes no sense together, saying where it was written', async () => {
    const refused: [Record<string, unknown>, string][] = [
      [
        { chunk: 8, overlap: 8 },
        'expected an overlap below the chunk of 8 tokens, got overlap 8 by --overlap',
      ],
      [{ folds: 1 }, 'expected at least 2 folds, or 0 for none'],
      [{ folds: 3, split: 'part' }, 'expected either folds or a column of splits'],
      [{ fractions: [0.5, 0.5, 0.5] }, 'expected shares that sum to 1'],
      [{ fractions: [0.8, 0.2, 0] }, 'expected training, validation and test above 0'],
      [{ encoder: 'gpt2', chunkState: 'first' }, 'expected one that the encoder gpt2 has (last, mean)'],
      [{ posWeight: 3 }, "expected posWeight only beside imbalance 'posWeight'"],
      [{ baselines: ['zero-shot'] }, "expected the baseline 'zero-shot' and its zeroShotModel together"],
      [{ oscarClasses: ['Writing'] }, 'expected a table of nominations (oscars) beside its classes'],
      [
        { oscars: 'oscars.csv', label: 'genre' },
        'expected nominated or winner beside a table of nominations',
      ],
      [{ pooling: 'sum' }, 'expected pooling to be one of mean, max, attention, transformer, decoder'],
      [{ learningRate: 1 }, "expected known settings in the flags, got 'learningRate'"],
      [{ steps: 3, epochs: 2 }, 'expected steps or epochs, got both'],
    ];
    for (const [flags, message] of refused) {
      const error = await read(flags).then(
        () => null,
        (e: unknown) => e,
      );
      expect(error, message).toBeInstanceOf(DataError);
      expect((error as DataError).message).toContain(message);
    }
    expect((await read({ folds: 3, fractions: ['0.8', '0.2', '0'] })).fractions).toEqual([0.8, 0.2, 0]);
  });
});
