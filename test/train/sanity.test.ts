/** The checks before and while fine-tuning: each broken set-up provokes its finding, a healthy one stays silent. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import '../../src/autograd/methods.js';
import { noGrad } from '../../src/autograd/mode.js';
import { tokenizeTexts } from '../../src/data/qa.js';
import { evaluationBlocks, type TokenBlock, TokenBlocks } from '../../src/data/token-blocks.js';
import { GPT2Tokenizer } from '../../src/data/tokenizer.js';
import { GradError } from '../../src/device/errors.js';
import { GPT2 } from '../../src/models/gpt2.js';
import { gpt2Config } from '../../src/models/gpt2-config.js';
import { applyLora } from '../../src/nn/lora.js';
import type { StateDict } from '../../src/nn/module.js';
import { Parameter } from '../../src/nn/parameter.js';
import { AdamW } from '../../src/optim/adam.js';
import { cpuDevice, setDefaultDevice } from '../../src/tensor/default-device.js';
import { tensor } from '../../src/tensor/factories.js';
import { defaultGenerator, manualSeed } from '../../src/tensor/random.js';
import type { Tensor } from '../../src/tensor/tensor.js';
import { toTensors } from '../../src/train/batches.js';
import type { Finding } from '../../src/train/finding.js';
import { explainNotFinite, LossWatch } from '../../src/train/loss-watch.js';
import {
  checkPositions,
  checkStart,
  checkTokens,
  checkVocabulary,
  describeStart,
} from '../../src/train/sanity.js';
import { checkGradients } from '../../src/train/sanity-gradients.js';
import { tokenBaselines } from '../../src/train/text-metrics.js';
import { meanLoss, Trainer } from '../../src/train/trainer.js';

const device = cpuDevice();
const V = 300;
const T = 24;
const tokenizer = new GPT2Tokenizer({ size: V });
/** Sentences of a small grammar: much to learn beyond frequencies. */
const texts = Array.from({ length: 120 }, (_, i) => {
  const who = ['the whale', 'a sailor', 'the old captain', 'her brother'][(i * 7 + (i >> 2)) % 4];
  const does = ['looks at', 'follows', 'never forgets', 'asks for'][(i * 5 + (i >> 3)) % 4];
  const what = ['the sea', 'a lantern', 'his ship', 'the morning'][(i * 3 + (i >> 1)) % 4];
  return `${who} ${does} ${what}.`;
});
const stream = tokenizeTexts(texts.slice(0, 100), tokenizer);
const heldOut = tokenizeTexts(texts.slice(100), tokenizer);
let unigram: number;
let trained: Map<string, Float32Array>;

const codes = (findings: readonly Finding[]): string[] => findings.map(({ code }) => code);
const first = (): TokenBlock => new TokenBlocks(stream, { batchSize: 2, blockSize: T, seed: 1 }).next();

function fresh(): GPT2 {
  manualSeed(3);
  return new GPT2(gpt2Config('nano', { vocabSize: V, contextLength: T, layers: 1, heads: 2, dim: 32 }));
}

/** A copy of the trained model. */
function sound(): GPT2 {
  const model = fresh();
  const state: StateDict = new Map();
  for (const [name, t] of model.stateDict())
    state.set(name, tensor(trained.get(name)!, { shape: t.shape, device }));
  model.loadStateDict(state);
  return model;
}

/** Overwrites a parameter by a function of its values. */
async function change(p: Tensor, map: (values: Float32Array) => Float32Array): Promise<void> {
  const values = map((await p.data()) as Float32Array);
  noGrad(() => p.copy_(tensor(values, { shape: p.shape, device })));
}

function lossOf(model: GPT2, ids = heldOut): Promise<number> {
  model.eval();
  return meanLoss(
    evaluationBlocks(ids, { batchSize: 8, blockSize: T }),
    (b) => model.loss(...toTensors(b, device)),
    (b) => b.count,
  );
}

function trainer(
  model: GPT2,
  lr: number,
  steps: number,
  onProgress?: (u: { step: number; loss: number }) => void,
) {
  return new Trainer<TokenBlock, [Tensor, Tensor]>({
    model,
    optimizer: new AdamW(model.parameters(), { lr }),
    batches: new TokenBlocks(stream, { batchSize: 8, blockSize: T, seed: 1 }),
    toDevice: (b) => toTensors(b, device),
    loss: ([x, y]) => model.loss(x, y),
    steps,
    clipNorm: 1,
    readEvery: 5,
    onProgress,
  });
}

async function start(model: GPT2, ids = heldOut): Promise<Finding[]> {
  return checkStart({ loss: await lossOf(model, ids), vocabSize: V, unigram, pretrained: true });
}

beforeAll(async () => {
  setDefaultDevice(device);
  unigram = tokenBaselines(stream, heldOut, V).unigram.natsPerToken;
  const model = fresh();
  await trainer(model, 3e-3, 150).train();
  trained = new Map();
  for (const [name, t] of model.stateDict()) trained.set(name, Float32Array.from(await t.data()));
});
afterAll(() => setDefaultDevice(null));

describe('the loss before training', () => {
  it('of a trained model and of a random one raises nothing', async () => {
    expect(await start(sound())).toEqual([]);
    const loss = await lossOf(fresh());
    expect(checkStart({ loss, vocabSize: V, unigram, pretrained: false })).toEqual([]);
    expect(describeStart({ loss: 3.21, vocabSize: 50_257, unigram: 7, pretrained: true })).toBe(
      "untouched, the model's loss is 3.21 nats per token; ln V = 10.82 (V = 50257); a pre-trained GPT-2 gives about 3 to 4 on English prose; 10.82 would be no knowledge at all",
    );
  });

  it('betrays embedding rows in another order', async () => {
    const model = sound();
    const { weight } = model.transformer.wte;
    await change(weight, (w) => {
      const out = new Float32Array(w.length);
      for (let i = 0; i < V; i++) out.set(w.subarray(i * 32, (i + 1) * 32), ((i * 7 + 3) % V) * 32);
      return out;
    });
    const findings = await start(model);
    expect(codes(findings)).toEqual(['start-too-high']);
    expect(findings[0].message).toContain('matrices stored as [in, out]');
  });

  it('betrays matrices read as if they were not transposed', async () => {
    const model = sound();
    for (const [name, p] of model.namedParameters()) {
      const transposed = /c_(attn|proj|fc)\.weight$/.test(name);
      if (!transposed) continue;
      const [out, inner] = p.shape;
      await change(p, (w) => w.map((_, i) => w[(i % out) * inner + Math.floor(i / out)]));
    }
    expect(codes(await start(model))).toEqual(['start-too-high']);
  });

  it('betrays a tokenizer with other ids', async () => {
    const other = heldOut.ids.map((id) => (id * 11 + 5) % V);
    expect(codes(await start(sound(), { ...heldOut, ids: other }))).toEqual(['start-too-high']);
  });

  it('betrays random weights that claim to be trained', async () => {
    expect(codes(await start(fresh()))).toEqual(['start-too-high']);
  });

  it('does not blame sound weights for foreign text', () => {
    const facts = { vocabSize: 2048, unigram: 6, pretrained: true };
    expect(checkStart({ ...facts, loss: 6.4, plain: 4.5 })).toMatchObject([
      { severity: 'note', code: 'foreign-text' },
    ]);
    expect(checkStart({ ...facts, loss: 6.4, plain: 6.3 })).toMatchObject([{ code: 'start-too-high' }]);
  });

  it('that is no number names the weights', async () => {
    const model = sound();
    await change(model.transformer.ln_f.weight!, (w) => w.fill(Number.NaN));
    const findings = await start(model);
    expect(findings).toMatchObject([{ severity: 'error', code: 'loss-not-finite' }]);
    expect(findings[0].message).toContain('NaN or infinite');
  });

  it('far from ln V of random weights names their size', () => {
    const facts = { vocabSize: V, unigram, pretrained: false };
    expect(checkStart({ ...facts, loss: 9 })[0].message).toContain('too large');
    expect(checkStart({ ...facts, loss: 1 })[0].message).toContain('shifted wrongly');
  });
});

describe('tokens and vocabulary', () => {
  it('that fit raise nothing, rounded-up vocabularies included', () => {
    expect(checkVocabulary(tokenizer, V, stream.ids)).toEqual([]);
    expect(checkVocabulary({ size: 50_257 }, 50_304, stream.ids)).toEqual([]);
    expect(checkTokens(stream, tokenizer, { documents: 100 })).toEqual([]);
  });

  it('of a larger tokenizer lie outside of the model', () => {
    const wrong = new GPT2Tokenizer({ size: 2048 });
    const { ids } = tokenizeTexts(texts, wrong);
    expect(checkVocabulary(wrong, V, ids)).toMatchObject([
      { severity: 'error', code: 'ids-outside-vocabulary' },
    ]);
    expect(checkVocabulary(wrong, V, ids)[0].message).toContain('expected token ids below 300');
  });

  it('of a smaller tokenizer mean something else', () => {
    const wrong = new GPT2Tokenizer({ size: 280 });
    const { ids } = tokenizeTexts(texts, wrong);
    expect(codes(checkVocabulary(wrong, V, ids))).toEqual(['vocabulary-mismatch']);
  });

  it('without ends of texts, or with their name as plain text, are noticed', () => {
    const plain = tokenizer.encode(texts.join('<|endoftext|>'));
    const mask = new Uint8Array(plain.length).fill(1);
    const findings = checkTokens({ ids: plain, mask }, tokenizer, { documents: texts.length });
    expect(codes(findings)).toEqual(['ends-missing']);
    expect(findings[0].message).toContain('after each of 120 texts in the training data, got 0');
    expect(codes(checkTokens({ ids: plain, mask }, { endOfText: null }, { documents: 0 }))).toEqual([
      'no-end-of-text',
    ]);
  });

  it('in blocks shorter than the context leave positions untrained', () => {
    expect(checkPositions(64, 64)).toEqual([]);
    expect(checkPositions(64, 256)).toMatchObject([{ severity: 'warning', code: 'positions-untrained' }]);
    expect(checkPositions(64, 256)[0].message).toContain('positions 64 to 255 stay random');
  });

  it('that are all masked cannot teach', () => {
    const mask = new Uint8Array(stream.ids.length);
    expect(codes(checkTokens({ ...stream, mask }, tokenizer, { documents: 100 }))).toEqual([
      'nothing-counts',
    ]);
  });
});

describe('gradients', () => {
  const check = (model: GPT2, shouldTrain?: (name: string) => boolean) => {
    const inputs = toTensors(first(), device);
    return checkGradients(model, () => model.loss(...inputs), { shouldTrain });
  };

  it('of a healthy model raise nothing and change nothing', async () => {
    const model = sound().train();
    const random = defaultGenerator.getState();
    expect(await check(model)).toEqual([]);
    expect(defaultGenerator.getState()).toEqual(random);
    expect(model.parameters().every((p) => p.grad === null)).toBe(true);
  });

  it('of LoRA raise nothing, although A has none at first', async () => {
    const model = sound();
    applyLora(model, { rank: 2, targets: ['c_attn', 'c_fc'] });
    expect(await check(model, (name) => name.includes('lora_'))).toEqual([]);
  });

  it('of nothing, where everything is frozen, are an error', async () => {
    const model = sound();
    model.requiresGrad_(false);
    expect(await check(model)).toMatchObject([{ severity: 'error', code: 'nothing-trains' }]);
  });

  it('of a base that should be frozen are named', async () => {
    const model = sound();
    applyLora(model, { rank: 2, targets: ['c_attn'] });
    model.transformer.wte.weight.requiresGrad = true;
    const findings = await check(model, (name) => name.includes('lora_'));
    expect(codes(findings)).toEqual(['frozen-trains']);
    expect(findings[0].message).toContain('transformer.wte.weight');
  });

  it('that frozen parameters receive are named', async () => {
    const model = sound();
    const { weight } = model.transformer.wpe;
    weight.requiresGrad = false;
    const inputs = toTensors(first(), device);
    const findings = await checkGradients(model, () => {
      weight.requiresGrad = true;
      return model.loss(...inputs);
    });
    expect(codes(findings)).toEqual(['frozen-gradients']);
    expect(findings[0].message).toContain('transformer.wpe.weight');
  });

  it('that are missing are named', async () => {
    const model = Object.assign(sound(), { unused: new Parameter(tensor([1, 2], { device })) });
    const findings = await check(model);
    expect(codes(findings)).toEqual(['gradients-missing']);
    expect(findings[0].message).toContain('got none for unused');
  });

  it('that are zero behind a dead layer are named', async () => {
    const model = sound();
    await change(model.transformer.h.at(0)!.mlp.c_proj.weight, (w) => w.fill(0));
    const findings = await check(model);
    expect(codes(findings)).toEqual(['gradients-zero']);
    expect(findings[0].message).toContain('mlp.c_fc.weight');
  });

  it('that are all masked give a loss that is no number', async () => {
    const model = sound();
    const { input, shape } = first();
    const inputs = toTensors({ input, target: new Int32Array(input.length).fill(-100), shape }, device);
    const findings = await checkGradients(model, () => model.loss(...inputs));
    expect(codes(findings)).toContain('loss-not-finite');
  });
});

describe('the loss while training', () => {
  it('that falls raises nothing', async () => {
    const watch = new LossWatch(Math.log(V), 3e-3);
    const findings: (Finding | null)[] = [];
    await trainer(fresh(), 3e-3, 60, ({ step, loss }) => findings.push(watch.push(step, loss))).train();
    expect(findings.length).toBe(12);
    expect(findings.every((f) => f === null)).toBe(true);
  });

  it('that a learning rate of 10 drives up is said once, with a lower one', async () => {
    const watch = new LossWatch(Math.log(V), 10);
    const findings: Finding[] = [];
    const run = trainer(fresh(), 10, 60, ({ step, loss }) => {
      const finding = watch.push(step, loss);
      if (finding) findings.push(finding);
    }).train();
    await run.catch((error) => {
      if (!(error instanceof GradError)) throw error;
      findings.push(explainNotFinite(10, 'float32'));
    });
    expect(findings).toHaveLength(1);
    expect(findings[0].message).toContain('the learning rate 10 is ');
    expect(findings[0].message).toContain('try 0.001');
  });

  it('that relapses after it had fallen is said, one bad reading is not', () => {
    const watch = new LossWatch(6, 0.01, 3);
    const said = [5, 3, 2, 4.9, 2, 2, 4, 4, 4, 4].map((loss, i) => watch.push(i, loss)?.code ?? null);
    expect(said).toEqual([null, null, null, null, null, null, null, null, 'diverging', null]);
  });
});
