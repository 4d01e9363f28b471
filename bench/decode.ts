/** `npm run bench -- decode`: tokens per second with a cache of keys and values, by the length of the context. */

import type { Device } from '../src/device/types.js';
import { capture, models, noGrad, type Tensor } from '../src/index.js';
import { Decoder } from '../src/models/decoder.js';
import { planGeneration } from '../src/models/generate-options.js';
import { TokenChooser } from '../src/models/logits.js';
import { keep } from '../src/tensor/lifetime.js';
import type { Options } from './options.js';
import { digits, median, table } from './report.js';

interface DecodeSpec {
  readonly name: string;
  readonly config: models.GPT2Config;
}

const SPECS: readonly DecodeSpec[] = [
  {
    name: 'GPT-2 nano, 2,048 tokens',
    config: models.gpt2Config('nano', { vocabSize: 2048, contextLength: 1024 }),
  },
  { name: 'GPT-2, 124M', config: models.gpt2Config('gpt2') },
];

/** Tokens that have been read before. */
const CONTEXTS = [1, 128, 900];

/** Steps at most. */
const MOST = 60;

export interface DecodeReport {
  readonly name: string;
  readonly context: number;
  readonly prefillMs: number;
  readonly firstMs: number;
  readonly msPerToken: number;
  /** The fastest token: on a busy machine the steadier figure. */
  readonly leastMs: number;
  readonly tokensPerSecond: number;
  readonly dispatches: number;
  /** 2 · layers · capacity · C · 4. */
  readonly cacheBytes: number;
  /** What the pool has handed out for it, state included. */
  readonly poolBytes: number;
}

/** One sequence that goes on token by token, sampled with top-k and top-p. */
class Sequence {
  readonly times: number[] = [];
  readonly decoder: Decoder;
  readonly step;
  firstMs = 0;
  private constructor(
    model: models.GPT2,
    readonly context: number,
    private readonly chooser: TokenChooser,
    prompt: Int32Array,
  ) {
    this.decoder = new Decoder(model, [prompt]);
    this.step = capture(
      (token: Tensor) => noGrad(() => this.chooser.choose(this.decoder.read(token), false)),
      {
        device: this.decoder.device,
      },
    );
  }
  private token!: Tensor;
  prefillMs = 0;
  poolBytes = 0;

  static async start(model: models.GPT2, device: Device, context: number): Promise<Sequence> {
    const prompt = Int32Array.from({ length: context }, (_, i) => (i * 7919) % model.shape.vocabSize);
    const plan = planGeneration(model.shape, [prompt], { temperature: 0.8, topK: 50, topP: 0.95, seed: 1 });
    const chooser = new TokenChooser(plan, model.shape.vocabSize, [prompt], device);
    await device.synchronize();
    const before = device.memory().liveBytes;
    const sequence = new Sequence(model, context, chooser, prompt);
    const start = performance.now();
    sequence.token = sequence.decoder.prefill(1, (logits) => keep(chooser.choose(logits, false)));
    await sequence.token.data();
    sequence.prefillMs = performance.now() - start;
    // Room for the steps that follow, or it would be made on the way.
    sequence.decoder.cache.reserve(MOST);
    sequence.poolBytes = device.memory().liveBytes - before;
    sequence.firstMs = await sequence.next();
    return sequence;
  }

  /** One token, read by the host. */
  async next(): Promise<number> {
    const start = performance.now();
    this.decoder.cache.reserve(1);
    this.token = this.step(this.token);
    await this.token.data();
    return performance.now() - start;
  }

  release(): void {
    this.step.release();
    this.decoder.release();
    this.chooser.release();
  }
}

export async function benchDecode(device: Device, options: Options): Promise<DecodeReport[]> {
  const rows: DecodeReport[] = [];
  for (const spec of SPECS) {
    if (options.only && !options.only.test(spec.name)) continue;
    const { name, config } = spec;
    const model = new models.GPT2(config).eval() as models.GPT2;
    const sequences: Sequence[] = [];
    for (const context of CONTEXTS) sequences.push(await Sequence.start(model, device, context));
    // By turns, so that what else the machine does meets all of them.
    const end = performance.now() + options.seconds * 1000 * CONTEXTS.length;
    for (let round = 0; round < 5 || performance.now() < end; round++) {
      if (round === MOST - 1) break;
      for (const s of sequences) s.times.push(await s.next());
    }
    for (const s of sequences) {
      const ms = median(s.times);
      const { cache } = s.decoder;
      rows.push({
        name,
        context: s.context,
        prefillMs: s.prefillMs,
        firstMs: s.firstMs,
        msPerToken: ms,
        leastMs: Math.min(...s.times),
        tokensPerSecond: 1000 / ms,
        dispatches: s.step.stats.dispatches,
        cacheBytes: cache.bytes,
        poolBytes: s.poolBytes,
      });
      s.release();
    }
    for (const p of model.parameters()) p.release();
    await device.synchronize();
  }
  const mib = (bytes: number): string => (bytes / 2 ** 20).toFixed(2);
  table(
    'Decoding, one sequence: read a token, sample with top-k 50 and top-p 0.95, read it on the host',
    [
      '',
      'context',
      'tokens/s',
      'of the first',
      'ms',
      'least ms',
      'dispatches',
      'prompt ms',
      'cache MiB',
      'in the pool',
    ],
    rows.map((r) => {
      const first = rows.find((other) => other.name === r.name)!;
      return [
        r.name,
        r.context.toString(),
        digits(r.tokensPerSecond),
        `${Math.round((100 * r.tokensPerSecond) / first.tokensPerSecond)} %`,
        digits(r.msPerToken),
        digits(r.leastMs),
        r.dispatches.toString(),
        digits(r.prefillMs),
        mib(r.cacheBytes),
        mib(r.poolBytes),
      ];
    }),
    ['The cache has room for 64, 128, 256, … tokens: 2 · layers · room · width · 4 bytes.'],
  );
  return rows;
}
