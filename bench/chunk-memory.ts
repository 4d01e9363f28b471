/** Memory and time of one training step on a long document, by its length: npm run bench -- chunks */
import {
  batchDocuments,
  CausalChunkEncoder,
  ChunkClassifier,
  chunkMemory,
  GPT2,
  gpt2Config,
  measureStep,
  TransformerChunkEncoder,
} from '../src/models/index.js';
import { applyLora } from '../src/nn/index.js';
import type { Device } from '../src/index.js';
import type { Options } from './options.js';

const CHUNK = 256;
const GROUP = 4;
const TOKENS = [1024, 4096, 16_384, 65_536];
/** Longest screenplay of the data set that the classifier is for, in GPT-2's tokens. */
const SCREENPLAY = 106_578;
/** Without recomputation only up to here, unless --large: activations of 64k tokens take more than half a gigabyte. */
const PLAIN = 16_384;

const MiB = (bytes: number): string => (bytes / 2 ** 20).toFixed(1);
const row = (...cells: string[]): void => console.log(cells.map((c) => c.padStart(16)).join(''));

function small(checkpoint: boolean): () => ChunkClassifier {
  return () =>
    new ChunkClassifier(
      new TransformerChunkEncoder({ vocabSize: 2048, dim: 64, heads: 4, layers: 2, maxLength: CHUNK }),
      { group: GROUP, checkpoint },
    );
}

function gpt2(train: 'full' | 'LoRA' | 'frozen', group: number): () => ChunkClassifier {
  return () => {
    const model = new GPT2(gpt2Config('gpt2'), { initialize: false });
    if (train === 'LoRA') applyLora(model, { rank: 16 });
    if (train === 'frozen') model.requiresGrad_(false);
    return new ChunkClassifier(new CausalChunkEncoder(model), { group });
  };
}

/** The table of lengths on a device. @returns what it prints */
export async function benchChunks(device: Device, options: Options): Promise<unknown> {
  const results: unknown[] = [];
  console.log(
    `\nEncoder of 2 layers, width 64, chunks of ${CHUNK} in groups of ${GROUP}; AdamW; the pool's peak in MiB`,
  );
  row('tokens', 'plain', 'recomputed', 'dry run', 'step s');
  for (const tokens of TOKENS) {
    const batch = batchDocuments([new Int32Array(tokens).fill(1)], { chunk: CHUNK, labels: [1] });
    const step = async (checkpoint: boolean): Promise<[bytes: number, seconds: number]> => {
      await device.synchronize();
      const started = performance.now();
      const { peakBytes } = measureStep(device, small(checkpoint), (model) => model.loss(batch));
      await device.synchronize();
      return [peakBytes, (performance.now() - started) / 2000];
    };
    const plain = tokens <= PLAIN || options.large ? (await step(false))[0] : null;
    const [peak, seconds] = await step(true);
    const planned = chunkMemory(small(true), tokens, { chunk: CHUNK, target: null }).peakBytes;
    row(String(tokens), plain ? MiB(plain) : '–', MiB(peak), MiB(planned), seconds.toFixed(2));
    results.push({ tokens, plain, peak, planned, seconds });
  }
  console.log(`\nGPT-2 124M on ${SCREENPLAY} tokens, by dry run: AdamW, float32, MiB`);
  row('trained', 'chunks', 'weights', 'between steps', 'peak');
  for (const train of ['full', 'LoRA', 'frozen'] as const) {
    for (const [group, chunk] of [
      [4, 512],
      [8, 1024],
    ]) {
      const memory = chunkMemory(gpt2(train, group), SCREENPLAY, { chunk });
      row(
        train,
        `${group} × ${chunk}`,
        MiB(memory.weightBytes),
        MiB(memory.restBytes),
        MiB(memory.peakBytes),
      );
      results.push({ train, group, chunk, ...memory });
    }
  }
  return results;
}
