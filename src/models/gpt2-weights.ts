/** Node only. GPT-2's weights out of Hugging Face's layout: config.json and model.safetensors, in one file or several. */
import { executeInPlace } from '../autograd/op.js';
import { transpose } from '../autograd/ops/views.js';
import { SAFETENSORS_ITEM_SIZE, type SafetensorsDType, type SafetensorsPlace } from '../data/safetensors.js';
import { SafetensorsReader } from '../data/safetensors-reader.js';
import { toFloat32, toFloat64 } from '../data/safetensors-values.js';
import type { Tokenizer } from '../data/tokenizer.js';
import type { DType } from '../device/dtype.js';
import { ITEM_SIZE } from '../device/dtype.js';
import { DataError } from '../device/errors.js';
import { copyProgram } from '../kernels/copy.js';
import { defaultDevice } from '../tensor/default-device.js';
import { encode } from '../tensor/host.js';
import { scope, unscoped } from '../tensor/lifetime.js';
import { formatShape, sameShape } from '../tensor/shape.js';
import { Tensor } from '../tensor/tensor.js';
import { GPT2 } from './gpt2.js';
import { type ModelFiles, openModelFiles, readJSON, readTokenizer } from './gpt2-files.js';
import { gpt2ConfigFromHF } from './gpt2-hf-config.js';
import { EMBEDDING, HEAD, IGNORED, PREFIX, storedTensors } from './gpt2-names.js';
import { saveGPT2 } from './gpt2-save.js';
import { type PretrainedOptions, setPretrainedFiles } from './pretrained.js';

/** The types that weights may have in a file. */
const FLOATS: readonly SafetensorsDType[] = ['F32', 'F16', 'BF16', 'F64'];
/** Bytes of a file in host memory at a time: large enough for the disk, small beside a large tensor. */
const PIECE_BYTES = 8 * 1024 ** 2;
/** WebGPU keeps what was written in host memory until it has run, so now and then it is waited for. */
const BYTES_IN_FLIGHT = 32 * 1024 ** 2;

/** A model out of files. */
export interface LoadedGPT2 {
  readonly model: GPT2;
  readonly tokenizer: Tokenizer;
  /** How the file holds the weights: what `saveGPT2` takes as its `dtype` to give the same bytes again. */
  readonly fileDType: SafetensorsDType;
}

/**
 * Loads GPT-2 with its tokenizer: from a folder in Hugging Face's layout, or from the Hub. Weights go to the device piece
 * by piece; host memory holds a few of them at a time. The model comes in evaluation mode.
 *
 * @param nameOrFolder a folder, or a name on the Hub like `openai-community/gpt2`
 * @param options `device` and `dtype` of the weights, `dropout` instead of the file's, `revision` on the Hub, `onProgress`
 * @throws DataError naming the settings, tensors or tokens that do not suit
 * @source transformers.GPT2LMHeadModel.from_pretrained
 */
export async function loadGPT2(nameOrFolder: string, options: PretrainedOptions = {}): Promise<LoadedGPT2> {
  const files = await openModelFiles(nameOrFolder, options);
  const { model, fileDType } = await loadModel(files, options);
  try {
    return { model, fileDType, tokenizer: await readTokenizer(files, model.config.vocabSize) };
  } catch (error) {
    release(model);
    throw error;
  }
}

setPretrainedFiles({
  load: async (nameOrFolder, options) =>
    (await loadModel(await openModelFiles(nameOrFolder, options), options)).model,
  save: (folder, model, options) => saveGPT2(folder, model as GPT2, undefined, options),
});

async function loadModel(
  files: ModelFiles,
  { device = defaultDevice(), dtype = 'float32', dropout, onProgress }: PretrainedOptions,
): Promise<{ model: GPT2; fileDType: SafetensorsDType }> {
  const settings = await readJSON(files, 'config.json');
  if (settings === null) throw new DataError(`${files.label}: expected config.json, got none`);
  const config = gpt2ConfigFromHF(settings, `${files.label}/config.json`, { dropout });
  const weights = await openWeights(files);
  try {
    const tensors = checkTensors(files.label, weights.tensors, storedTensors(config));
    const largest = Math.max(...tensors.map(({ place }) => place.end - place.begin));
    const buffer = new Uint8Array(Math.min(PIECE_BYTES, largest));
    await compareHead(weights.tensors, buffer.length);

    const model = unscoped(() => new GPT2(config, { device, dtype, initialize: false })).eval();
    try {
      const parameters = model.stateDict();
      const total = tensors.reduce((n, { place }) => n + place.end - place.begin, 0);
      let bytes = 0;
      let waited = 0;
      for (const found of tensors) {
        const writing = writeTensor(found, parameters.get(PREFIX + found.name)!, buffer);
        for await (const written of writing) {
          bytes += written;
          if (bytes - waited >= BYTES_IN_FLIGHT) {
            await device.synchronize();
            waited = bytes;
          }
          onProgress?.({ kind: 'load', file: found.file, bytes, total });
        }
      }
      await device.synchronize();
    } catch (error) {
      release(model);
      throw error;
    }
    return { model, fileDType: tensors[0].place.dtype };
  } finally {
    await weights.close();
  }
}

function release(model: GPT2): void {
  for (const p of model.parameters()) p.release();
}

/** A tensor of a file. */
interface Found {
  /** Without prefix. */
  readonly name: string;
  readonly stored: string;
  readonly file: string;
  readonly reader: SafetensorsReader;
  readonly place: SafetensorsPlace;
  readonly transposed: boolean;
}

interface Weights {
  readonly tensors: Omit<Found, 'transposed'>[];
  close(): Promise<void>;
}

/** Opens model.safetensors, or the files that its index names. */
async function openWeights(files: ModelFiles): Promise<Weights> {
  const readers: SafetensorsReader[] = [];
  const close = async (): Promise<void> => {
    for (const reader of readers) await reader.close();
  };
  const tensors: Weights['tensors'] = [];
  const open = async (file: string, path: string): Promise<SafetensorsReader> => {
    const reader = await SafetensorsReader.open(path);
    readers.push(reader);
    for (const [stored, place] of reader.tensors) {
      const name = stored.startsWith(PREFIX) ? stored.slice(PREFIX.length) : stored;
      if (!IGNORED.test(name)) tensors.push({ name, stored, file, reader, place });
    }
    return reader;
  };
  try {
    const whole = await files.path('model.safetensors');
    if (whole !== null) await open('model.safetensors', whole);
    else {
      for (const [file, names] of await readIndex(files)) {
        const path = await files.path(file);
        if (path === null)
          throw new DataError(`${files.label}: expected ${file}, which the index names, got none`);
        const reader = await open(file, path);
        const absent = names.filter((name) => !reader.tensors.has(name));
        if (absent.length > 0)
          throw new DataError(
            `${files.label}/${file}: expected what the index says of it, missing: ${some(absent)}`,
          );
      }
    }
    return { tensors, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Files and their tensors, out of model.safetensors.index.json. */
async function readIndex(files: ModelFiles): Promise<Map<string, string[]>> {
  const name = 'model.safetensors.index.json';
  const index = (await readJSON(files, name)) as { weight_map?: Record<string, unknown> } | null;
  if (index === null) {
    throw new DataError(
      `${files.label}: expected model.safetensors or ${name}, got neither; pytorch_model.bin is not read: ` +
        'write it again with save_pretrained(folder, safe_serialization=True) of transformers',
    );
  }
  const shards = new Map<string, string[]>();
  for (const [tensor, file] of Object.entries(index.weight_map ?? {})) {
    if (typeof file !== 'string' || !/^[\w-][\w.-]*$/.test(file)) {
      throw new DataError(
        `${files.label}/${name}: expected the name of a file for ${tensor}, got ${JSON.stringify(file)}`,
      );
    }
    if (!shards.get(file)?.push(tensor)) shards.set(file, [tensor]);
  }
  if (shards.size === 0) throw new DataError(`${files.label}/${name}: expected a weight_map, got none`);
  return shards;
}

/** What there is, in the files' order, beside what there must be. @throws DataError naming everything that differs */
function checkTensors(
  label: string,
  given: Weights['tensors'],
  expected: ReturnType<typeof storedTensors>,
): Found[] {
  const faults: string[] = [];
  const found = new Map<string, Found>();
  const unexpected: string[] = [];
  const hasEmbedding = given.some(({ name }) => name === EMBEDDING);
  for (const tensor of given) {
    // Tied weights are one tensor, of which a file may keep either name.
    const name = tensor.name === HEAD && !hasEmbedding ? EMBEDDING : tensor.name;
    const wanted = expected.get(name === HEAD ? EMBEDDING : name);
    if (!wanted) unexpected.push(tensor.stored);
    else if (!sameShape(tensor.place.shape, wanted.shape)) {
      faults.push(
        `mis-shaped: ${tensor.stored}, expected ${formatShape(wanted.shape)}, got ${formatShape(tensor.place.shape)}`,
      );
    } else if (!FLOATS.includes(tensor.place.dtype)) {
      faults.push(`of a type: ${tensor.stored}, expected ${FLOATS.join(', ')}, got ${tensor.place.dtype}`);
    } else if (found.has(name)) {
      faults.push(`twice: ${found.get(name)!.stored} and ${tensor.stored}`);
    } else if (name !== HEAD) found.set(name, { ...tensor, name, transposed: wanted.transposed });
  }
  const there = new Set(given.map(({ name }) => (name === HEAD && !hasEmbedding ? EMBEDDING : name)));
  const missing = [...expected.keys()].filter((name) => !there.has(name));
  if (unexpected.length > 0) faults.unshift(`unexpected: ${some(unexpected)}`);
  if (missing.length > 0) faults.unshift(`missing: ${some(missing)}`);
  if (faults.length > 0) {
    throw new DataError(
      `${label}: expected the tensors of the GPT-2 of config.json, got others\n  ${some(faults, '\n  ')}`,
    );
  }
  return [...found.values()];
}

/** A list that stays readable. */
function some(items: readonly string[], separator = ', '): string {
  const most = 12;
  const shown = items.slice(0, most).join(separator);
  return items.length > most ? `${shown}${separator}and ${items.length - most} more` : shown;
}

/** @throws DataError where lm_head.weight is there beside wte.weight and is not the same */
async function compareHead(tensors: Weights['tensors'], pieceBytes: number): Promise<void> {
  const head = tensors.find(({ name }) => name === HEAD);
  const embedding = tensors.find(({ name }) => name === EMBEDDING);
  if (!head || !embedding) return;
  const count = Math.floor(pieceBytes / 2 / 8);
  const piecesOf = ({ reader, stored, place }: Weights['tensors'][number]) =>
    reader.pieces(stored, new Uint8Array(Math.max(count, 1) * SAFETENSORS_ITEM_SIZE[place.dtype]));
  const heads = piecesOf(head);
  for await (const data of piecesOf(embedding)) {
    const own = toFloat32({ dtype: embedding.place.dtype, data });
    const other = toFloat32({ dtype: head.place.dtype, data: (await heads.next()).value! });
    const differs = own.findIndex((x, i) => !Object.is(x, other[i]));
    if (differs >= 0) {
      throw new DataError(
        `${head.file}: expected ${head.stored} to be ${embedding.stored}, whose weight GPT-2's head shares, ` +
          'got other values; heads of their own are not supported',
      );
    }
  }
}

/** Writes a tensor of a file into a parameter, and says after each piece how many bytes of the file that were. */
async function* writeTensor(found: Found, target: Tensor, buffer: Uint8Array): AsyncGenerator<number> {
  const { reader, stored, place, transposed } = found;
  const staged = stagedDType(place.dtype, target.dtype);
  // What needs another order or another type gets it on the device.
  const isDirect = !transposed && staged === target.dtype;
  const at = isDirect ? target : unscoped(() => Tensor.allocate(target.device, staged, place.shape, stored));
  try {
    const itemSize = SAFETENSORS_ITEM_SIZE[place.dtype];
    let element = 0;
    for await (const data of reader.pieces(
      stored,
      buffer.subarray(0, buffer.length - (buffer.length % 8) || undefined),
    )) {
      target.device.write(at.buffer, converted(place.dtype, staged, data), element * ITEM_SIZE[staged]);
      element += data.length / itemSize;
      yield data.length;
    }
    if (!isDirect) {
      scope(() => executeInPlace(copyProgram, [transposed ? transpose(at, 0, 1) : at], [target], null));
    }
  } finally {
    if (!isDirect) at.release();
  }
}

/** What a stored type becomes on its way to a device: its own where the device has it, else float32. */
function stagedDType(stored: SafetensorsDType, target: DType): DType {
  if (target === 'float64') return 'float64';
  return stored === 'F16' && target === 'float16' ? 'float16' : 'float32';
}

function converted(stored: SafetensorsDType, staged: DType, data: Uint8Array): ArrayBufferView {
  if (staged === 'float16') return data;
  return encode(
    staged,
    staged === 'float64' ? toFloat64({ dtype: stored, data }) : toFloat32({ dtype: stored, data }),
  );
}

export { saveGPT2 } from './gpt2-save.js';
