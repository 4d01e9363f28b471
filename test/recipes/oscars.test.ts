/** The recipe `oscars`: its configurations, and the riddle that chunks solve and the first chunk does not. */
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import {
  novelSentences,
  type PlantedDocument,
  type PlantedOptions,
  plantedDocuments,
  RIDDLES,
} from '../../recipes/oscars/planted.js';
import { GPT2Tokenizer } from '../../src/data/tokenizer.js';
import { DryDevice } from '../../src/device/dry.js';
import { cpuDevice, manualSeed, models, optim, scope, setDefaultDevice } from '../../src/index.js';
import { buildClassifier, type Classifier } from '../../src/train/classifier-run.js';
import { CLASSIFY } from '../../src/train/classify-config.js';

const FOLDER = new URL('../../recipes/oscars/', import.meta.url);
const POOL = Array.from({ length: 400 }, (_, i) => `Sentence number ${i} of the ship.`);
/** Sentences that stand once in the pool of the novel are planted. */
const plants = (text: string): string[] =>
  text.match(/The keeper \w+ the stranger\.|A lantern[^.]*\.|Somebody rang[^.]*\./g) ?? [];

describe('the configurations', () => {
  it.each(readdirSync(FOLDER).filter((name) => name.endsWith('.json')))('%s is valid', async (name) => {
    const file = fileURLToPath(new URL(name, FOLDER));
    const config = await CLASSIFY.read({ file, environment: {}, flags: { data: ['documents.jsonl'] } });
    expect(config.data).toEqual(['documents.jsonl']);
  });
});

describe('GPT-2 124M on the longest screenplay', () => {
  it.each(['gpt2-lora.json', 'gpt2-frozen.json'])('%s takes a step within 16 GB', async (name) => {
    const config = await CLASSIFY.read({
      file: fileURLToPath(new URL(name, FOLDER)),
      environment: {},
      flags: { data: ['movies.parquet'] },
    });
    const { dropout } = config;
    const drops = { embeddingDropout: dropout, attentionDropout: dropout, residualDropout: dropout };
    const made: { classifier?: Classifier } = {};
    const { peakBytes } = models.measureStep(
      new DryDevice({ target: { kind: 'gpu', f16: true, subgroups: false, maxStorageBuffers: 10 } }),
      () => {
        const gpt2 = new models.GPT2(models.gpt2Config('gpt2', drops), { initialize: false });
        made.classifier = buildClassifier(config, { size: gpt2.shape.vocabSize }, gpt2);
        return made.classifier.model;
      },
      () => made.classifier!.loss([new Int32Array(106_578)], [1]),
    );
    expect(peakBytes).toBeGreaterThan(1e9);
    expect(peakBytes).toBeLessThan(12e9);
  });
});

describe('planted sentences', () => {
  const make = (options: Partial<PlantedOptions> = {}): PlantedDocument[] =>
    plantedDocuments({ riddle: 'both', documents: 100, ...options }, POOL);

  it.each(RIDDLES)('%s: decide the label, and stand behind the start', (riddle) => {
    for (const { label, text, planted } of make({ riddle, sentences: [14, 24], head: 4 })) {
      const found = plants(text);
      expect(found).toHaveLength(planted.length);
      if (riddle === 'one') expect(found[0].includes('forgave')).toBe(label === 1);
      if (riddle === 'both') expect(new Set(found).size).toBe(label === 1 ? 2 : 1);
      if (riddle === 'order') expect(found[0].includes('lantern')).toBe(label === 1);
      expect(planted[0]).toBeGreaterThanOrEqual(4);
      if (planted.length === 2) expect(planted[1] - planted[0]).toBeGreaterThanOrEqual(3);
      const sentences = text.split(/(?<=\.) /);
      expect(sentences.length).toBeGreaterThanOrEqual(14);
      expect(sentences.length).toBeLessThanOrEqual(24);
      planted.forEach((at, k) => {
        expect(sentences[at]).toBe(found[k]);
        expect(at).toBeLessThan(sentences.length - 2);
      });
    }
  });

  it('come in splits of both classes, with sentences of their own', () => {
    const made = make();
    const sizes = { train: 80, validation: 10, test: 10 };
    const seen = new Map<string, string>();
    for (const [split, size] of Object.entries(sizes)) {
      const own = made.filter((d) => d.split === split);
      expect(own).toHaveLength(size);
      expect(own.filter((d) => d.label === 1)).toHaveLength(size / 2);
      for (const sentence of own.flatMap((d) => d.text.match(/Sentence number \d+/g) ?? [])) {
        expect(seen.get(sentence) ?? split).toBe(split);
        seen.set(sentence, split);
      }
    }
  });

  it('are the same for the same seed', () => {
    expect(make()).toEqual(make());
    expect(make({ seed: 2 })).not.toEqual(make());
    expect(() => make({ sentences: [8, 9] })).toThrow('planted: expected at least 12 sentences, got 8 to 9');
  });
});

describe('two sentences far apart', () => {
  const tokenizer = new GPT2Tokenizer({ size: 4096 });
  const made = plantedDocuments(
    { riddle: 'both', documents: 1500, sentences: [12, 16], head: 4 },
    novelSentences(),
  );
  const tokens = made.map(({ text }) => tokenizer.encode(text));

  /** Trains on each training document once. @returns accuracy on the test documents */
  async function accuracy(cut: models.ChunkOptions): Promise<number> {
    setDefaultDevice(cpuDevice());
    manualSeed(1);
    const sizes = { vocabSize: tokenizer.size, dim: 32, heads: 2, layers: 1, maxLength: cut.chunk };
    const encoder = new models.TransformerChunkEncoder(sizes);
    const model = new models.ChunkClassifier(encoder, { pooling: 'max', group: 256, checkpoint: false });
    const optimizer = new optim.AdamW(model.parameters(), { lr: 1e-2 });
    const part = (split: string) => made.map((_, i) => i).filter((i) => made[i].split === split);
    const batch = (some: readonly number[]) =>
      models.batchDocuments(
        some.map((i) => tokens[i]),
        { ...cut, labels: some.map((i) => made[i].label) },
      );
    const train = part('train');
    for (let at = 0; at < train.length; at += 8) {
      // Neighbours in the list have the same label.
      const some = Array.from(
        { length: 8 },
        (_, k) => train[(at / 8 + (k * train.length) / 8) % train.length],
      );
      scope(() => {
        model.loss(batch(some)).backward();
        optim.clipGradNorm_(model.parameters(), 1);
        optimizer.step();
      });
      optimizer.zeroGrad();
    }
    const test = part('test');
    const p = await model.eval().probabilities(batch(test)).data();
    return test.filter((i, k) => p[k] > 0.5 === (made[i].label === 1)).length / test.length;
  }

  it('are found chunk by chunk', async () => {
    expect(await accuracy({ chunk: 32, overlap: 12 })).toBeGreaterThanOrEqual(0.95);
  }, 240_000);

  it('and not by the same encoder on the first chunk', async () => {
    // 150 throws of a coin are within 0.13 of a half in 998 of 1,000 cases.
    const chance = await accuracy({ chunk: 32, maxChunks: 1, keep: 'head' });
    expect(Math.abs(chance - 0.5)).toBeLessThan(0.13);
  }, 240_000);
});
