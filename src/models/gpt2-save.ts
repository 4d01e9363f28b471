/** Node only. GPT-2's weights into Hugging Face's layout. */
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { contiguousCopy } from '../autograd/contiguous.js';
import { transpose } from '../autograd/ops/views.js';
import { writeFileAtomic } from '../data/atomic-file.js';
import {
  layoutSafetensorsHeader,
  SAFETENSORS_ITEM_SIZE,
  type SafetensorsDType,
} from '../data/safetensors.js';
import { safetensorsEntry, toFloat32 } from '../data/safetensors-values.js';
import { GPT2Tokenizer, type Tokenizer } from '../data/tokenizer.js';
import { type DType, hostView, ITEM_SIZE } from '../device/dtype.js';
import { DataError } from '../device/errors.js';
import { scope } from '../tensor/lifetime.js';
import { numel, sameShape } from '../tensor/shape.js';
import type { Tensor } from '../tensor/tensor.js';
import type { GPT2 } from './gpt2.js';
import { gpt2ConfigToHF } from './gpt2-hf-config.js';
import { PREFIX, storedTensors } from './gpt2-names.js';
import type { SavePretrainedOptions } from './pretrained.js';

/** Bytes of a tensor in host memory at a time. */
const PIECE_BYTES = 8 * 1024 ** 2;
/** As transformers: files of more than 5 GB are split. */
const MAX_SHARD_BYTES = 5e9;
const NATURAL: Partial<Record<DType, SafetensorsDType>> = { float32: 'F32', float16: 'F16', float64: 'F64' };
const TORCH: Partial<Record<SafetensorsDType, string>> = {
  F32: 'float32',
  F16: 'float16',
  BF16: 'bfloat16',
  F64: 'float64',
};
const WHOLE = 'model.safetensors';
const INDEX = `${WHOLE}.index.json`;
const WEIGHTS = /^model(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?$/;

interface Output {
  readonly tensor: Tensor;
  readonly transposed: boolean;
  readonly shape: number[];
  readonly dtype: SafetensorsDType;
}

/**
 * Saves GPT-2 as a folder that `loadGPT2` and Hugging Face's classes read: config.json; model.safetensors, or parts of it
 * with an index; and tokenizer.json, in our own form, where the tokenizer is not plain GPT-2. Each file is written whole or
 * not at all.
 *
 * Kept: every weight, bit for bit where `dtype` is that of the file it came from (`fileDType` of `loadGPT2`), under the
 * names of `GPT2LMHeadModel`. Not kept: masks and other buffers, a second copy of the tied head, settings of config.json
 * that the model does not use, and other files of the folder the model came from.
 *
 * @param folder made if need be
 * @param tokenizer default GPT-2's
 * @throws DataError where the model has other tensors than GPT-2, such as adapters that were not merged
 * @source transformers.PreTrainedModel.save_pretrained
 */
export async function saveGPT2(
  folder: string,
  model: GPT2,
  tokenizer?: Tokenizer,
  { dtype, maxShardBytes = MAX_SHARD_BYTES }: SavePretrainedOptions = {},
): Promise<void> {
  const outputs = outputsOf(model, dtype);
  await mkdir(folder, { recursive: true });
  const shards = split(outputs, maxShardBytes);
  const fileOf = (i: number): string => {
    const number = (n: number): string => String(n).padStart(5, '0');
    return shards.length === 1 ? WHOLE : `model-${number(i + 1)}-of-${number(shards.length)}.safetensors`;
  };
  for (const [i, shard] of shards.entries()) await writeFileAtomic(join(folder, fileOf(i)), chunks(shard));
  if (shards.length > 1) {
    const weightMap = shards.flatMap((shard, i) => [...shard.keys()].map((name) => [name, fileOf(i)]));
    const total = [...outputs.values()].reduce((n, output) => n + bytesOf(output), 0);
    await writeJSON(join(folder, INDEX), {
      metadata: { total_size: total },
      weight_map: Object.fromEntries(weightMap.sort(([a], [b]) => (a < b ? -1 : 1))),
    });
  }
  // Of another save into this folder: a reader must find one set of weights only.
  const written = new Set(shards.map((_, i) => fileOf(i)).concat(shards.length > 1 ? INDEX : []));
  for (const file of await readdir(folder)) {
    if (WEIGHTS.test(file) && !written.has(file)) await rm(join(folder, file));
  }

  const [{ dtype: stored }] = outputs.values();
  const plain = new GPT2Tokenizer();
  const endOfText = tokenizer
    ? tokenizer.endOfText
    : model.config.vocabSize >= plain.size
      ? plain.endOfText
      : null;
  await writeJSON(
    join(folder, 'config.json'),
    gpt2ConfigToHF(model.config, { endOfText, torchDType: TORCH[stored]! }),
  );
  const isPlain = !tokenizer || JSON.stringify(tokenizer) === JSON.stringify(plain);
  if (!isPlain) await writeJSON(join(folder, 'tokenizer.json'), tokenizer);
  else if (tokenizer) await rm(join(folder, 'tokenizer.json'), { force: true });
}

/** The tensors to write by their names in the file. */
function outputsOf(model: GPT2, dtype?: SafetensorsDType): Map<string, Output> {
  const state = model.stateDict();
  const outputs = new Map<string, Output>();
  const missing: string[] = [];
  for (const [name, { shape, transposed }] of storedTensors(model.config)) {
    const key = PREFIX + name;
    const tensor = state.get(key);
    if (!tensor || !sameShape(tensor.shape, transposed ? [...shape].reverse() : shape)) {
      missing.push(key);
      continue;
    }
    const own = NATURAL[tensor.dtype];
    if (!own) throw new DataError(`saveGPT2: expected ${key} to be floating-point, got ${tensor.dtype}`);
    outputs.set(key, { tensor, transposed, shape: [...shape], dtype: dtype ?? own });
  }
  const unexpected = [...state.keys()].filter((name) => !outputs.has(name) && !missing.includes(name));
  if (missing.length + unexpected.length > 0) {
    throw new DataError(
      `saveGPT2: expected the tensors of GPT-2, got a model without ${missing.slice(0, 3).join(', ') || 'none'} and with ` +
        `${unexpected.slice(0, 3).join(', ') || 'nothing else'}; merge adapters first, and save quantised models before they are quantised`,
    );
  }
  return outputs;
}

function bytesOf({ shape, dtype }: Output): number {
  return numel(shape) * SAFETENSORS_ITEM_SIZE[dtype];
}

/** Tensors in order, in groups of at most `most` bytes, but at least one tensor each. */
function split(outputs: Map<string, Output>, most: number): Map<string, Output>[] {
  const shards: Map<string, Output>[] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const [name, output] of outputs) {
    if (bytes + bytesOf(output) > most) {
      shards.push(new Map());
      bytes = 0;
    }
    shards[shards.length - 1].set(name, output);
    bytes += bytesOf(output);
  }
  return shards;
}

/** The bytes of a file, piece by piece from the device. */
async function* chunks(outputs: Map<string, Output>): AsyncGenerator<Uint8Array> {
  const { head, order } = layoutSafetensorsHeader(outputs, { format: 'pt' });
  yield head;
  for (const name of order) yield* tensorChunks(outputs.get(name)!);
}

async function* tensorChunks({ tensor, transposed, dtype }: Output): AsyncGenerator<Uint8Array> {
  const { device } = tensor;
  const isCopied = transposed || !tensor.isContiguous;
  const source = isCopied
    ? scope(() => contiguousCopy(transposed ? transpose(tensor.detach(), 0, 1) : tensor))
    : tensor;
  try {
    const itemSize = ITEM_SIZE[source.dtype];
    const step = PIECE_BYTES / itemSize;
    for (let at = 0; at < source.numel; at += step) {
      const count = Math.min(step, source.numel - at);
      // Devices read whole words, which an odd count of float16 is not; nor is an odd offset.
      const first = (source.offset + at) * itemSize;
      const from = first - (first % 4);
      const to = Math.ceil((first + count * itemSize) / 4) * 4;
      const raw = await device.read(source.buffer, from, to - from);
      if (NATURAL[source.dtype] === dtype) yield new Uint8Array(raw, first - from, count * itemSize);
      else {
        const bits = hostView(source.dtype, raw, first - from, count);
        const bytes = new Uint8Array(bits.buffer as ArrayBuffer, bits.byteOffset, bits.byteLength);
        const values = toFloat32({ dtype: NATURAL[source.dtype]!, data: bytes });
        yield safetensorsEntry(values, [count], dtype).data;
      }
    }
  } finally {
    if (isCopied) source.release();
  }
}

async function writeJSON(path: string, value: unknown): Promise<void> {
  await writeFileAtomic(path, [`${JSON.stringify(value, null, 2)}\n`]);
}
