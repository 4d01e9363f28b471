/**
 * The safetensors format: an unsigned 64-bit header length, a JSON header, and the tensors' bytes without gaps.
 * Everything is little-endian, as is every machine that runs WebGPU. Knows no tensors and no files.
 *
 * @source https://github.com/huggingface/safetensors (format description in the README, reader and writer in tensor.rs)
 */
import { DataError } from '../device/errors.js';

/** Bytes per element, in the order of the reference implementation's enum, by which its writer sorts (descending). */
export const SAFETENSORS_ITEM_SIZE = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  I16: 2,
  U16: 2,
  F16: 2,
  BF16: 2,
  I32: 4,
  U32: 4,
  F32: 4,
  F64: 8,
  I64: 8,
  U64: 8,
} as const;

/** An element type as safetensors spells it. */
export type SafetensorsDType = keyof typeof SAFETENSORS_ITEM_SIZE;

/** One tensor of a file: its elements row by row as little-endian bytes. */
export interface SafetensorsEntry {
  dtype: SafetensorsDType;
  shape: number[];
  data: Uint8Array;
}

/** What a safetensors file holds. */
export interface SafetensorsContents {
  /** The tensors in the order of their bytes in the file. */
  tensors: Map<string, SafetensorsEntry>;
  /** The header's `__metadata__`, empty where there is none. */
  metadata: Record<string, string>;
}

/** Tensors to write, by name. */
export type SafetensorsInput =
  | ReadonlyMap<string, Readonly<SafetensorsEntry>>
  | Readonly<Record<string, SafetensorsEntry>>;

/** The reference reader's limit (MAX_HEADER_SIZE). */
const MAX_HEADER_BYTES = 100_000_000;
const LENGTH_BYTES = 8;
const METADATA_KEY = '__metadata__';
const RANK = new Map(Object.keys(SAFETENSORS_ITEM_SIZE).map((dtype, rank) => [dtype, rank]));

/**
 * Reads a safetensors file that is already in memory.
 * @param bytes the whole file; tensors' `data` are views of it, not copies
 * @returns tensors by name, in file order, and the metadata
 * @throws DataError naming the tensor and the byte offsets, whenever the file breaks the format's rules
 * @source safetensors.deserialize
 */
export function parseSafetensors(bytes: Uint8Array): SafetensorsContents {
  if (!(bytes instanceof Uint8Array)) fail(`expected a Uint8Array, got ${describe(bytes)}`);
  const layout = parseSafetensorsHeader(bytes, bytes.length);
  const tensors = new Map<string, SafetensorsEntry>();
  for (const [name, { dtype, shape, begin, end }] of layout.tensors) {
    // A plain Uint8Array even where `bytes` is a Node Buffer, whose slice() would not copy.
    const data = new Uint8Array(bytes.buffer, bytes.byteOffset + begin, end - begin);
    tensors.set(name, { dtype, shape, data });
  }
  return { tensors, metadata: layout.metadata };
}

/** Where a tensor lies in a file, in bytes from the file's start. */
export interface SafetensorsPlace {
  readonly dtype: SafetensorsDType;
  readonly shape: number[];
  readonly begin: number;
  readonly end: number;
}

/**
 * What a file's first bytes say, checked as `parseSafetensors` does.
 * @param bytes the file, at least to the end of its header (`safetensorsHeaderEnd`)
 * @param fileBytes the size of the whole file
 */
export function parseSafetensorsHeader(
  bytes: Uint8Array,
  fileBytes: number,
): { tensors: Map<string, SafetensorsPlace>; metadata: Record<string, string> } {
  const dataStart = safetensorsHeaderEnd(bytes, fileBytes);
  const header = parseHeader(bytes.subarray(LENGTH_BYTES, dataStart), dataStart);
  const metadata = parseMetadata(header.get(METADATA_KEY));
  header.delete(METADATA_KEY);

  const infos = [...header].map(([name, info]) => parseInfo(name, info));
  // Old writers ordered the header by name, so only the offsets say how the bytes lie.
  infos.sort((a, b) => a.begin - b.begin || a.end - b.end);

  const dataBytes = fileBytes - dataStart;
  const tensors = new Map<string, SafetensorsPlace>();
  let previous = 'the header';
  let expected = 0;
  for (const { name, dtype, shape, begin, end } of infos) {
    const where = `tensor ${JSON.stringify(name)}`;
    const offsets = `data_offsets [${begin}, ${end}]`;
    if (end > dataBytes) {
      fail(
        `${where}: ${offsets} end beyond the ${dataBytes} data bytes (file of ${fileBytes} bytes); is it truncated?`,
      );
    }
    if (begin !== expected) {
      const fault = begin > expected ? `leave a hole of ${begin - expected} bytes after` : 'overlap';
      fail(`${where}: ${offsets} ${fault} ${previous}; expected them to begin at ${expected}`);
    }
    tensors.set(name, { dtype, shape, begin: dataStart + begin, end: dataStart + end });
    previous = where;
    expected = end;
  }
  if (expected !== dataBytes) {
    fail(
      `${dataBytes - expected} bytes after ${previous} belong to no tensor (data of ${dataBytes} bytes, used up to ${expected})`,
    );
  }
  return { tensors, metadata };
}

/**
 * Writes tensors as one safetensors file, byte for byte as the reference implementation does: the header padded with
 * spaces to 8 bytes, tensors sorted by element type (widest first), then by name.
 * @param tensors entries by name, as a Map or an object; see `safetensorsEntry` for a way to make them
 * @param metadata strings to keep in the header
 * @returns the file
 * @throws DataError when an entry's bytes do not fit its shape and dtype
 * @source safetensors.serialize
 */
export function serializeSafetensors(
  tensors: SafetensorsInput,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  const chunks = layoutSafetensors(tensors, metadata);
  const file = new Uint8Array(chunks.reduce((total, chunk) => total + chunk.length, 0));
  let offset = 0;
  for (const chunk of chunks) {
    file.set(chunk, offset);
    offset += chunk.length;
  }
  return file;
}

/** The chunks of a safetensors file in order: length and header first, then each tensor's own bytes, not copied. */
export function layoutSafetensors(
  tensors: SafetensorsInput,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array[] {
  const entries = new Map<string, SafetensorsEntry>(
    tensors instanceof Map ? tensors : Object.entries(tensors),
  );
  for (const [name, entry] of entries) checkEntry(name, entry);
  const { head, order } = layoutSafetensorsHeader(entries, metadata);
  return [head, ...order.map((name) => entries.get(name)!.data)];
}

/** The length and header of a file, and the order in which the tensors' bytes follow. */
export function layoutSafetensorsHeader(
  tensors: ReadonlyMap<string, Pick<SafetensorsEntry, 'dtype' | 'shape'>>,
  metadata: Readonly<Record<string, string>> = {},
): { head: Uint8Array; order: string[] } {
  const encoder = new TextEncoder();
  const entries = [...tensors].map(([name, { dtype, shape }]) => ({
    name,
    key: encoder.encode(name),
    dtype,
    shape,
    bytes: byteLength(`tensor ${JSON.stringify(name)}`, dtype, shape),
  }));
  entries.sort((a, b) => RANK.get(b.dtype)! - RANK.get(a.dtype)! || compareBytes(a.key, b.key));

  // Joined by hand because a JavaScript object would reorder names that look like integers.
  const members: string[] = [];
  const pairs = Object.entries(metadata);
  for (const [key, value] of pairs) {
    if (typeof value !== 'string')
      fail(`metadata ${JSON.stringify(key)}: expected a string, got ${describe(value)}`);
    if (isIllFormed(key) || isIllFormed(value))
      fail(`metadata ${JSON.stringify(key)}: half a surrogate pair is not text`);
  }
  if (pairs.length > 0) {
    const body = pairs.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`).join(',');
    members.push(`${JSON.stringify(METADATA_KEY)}:{${body}}`);
  }
  let offset = 0;
  for (const { name, dtype, shape, bytes } of entries) {
    const info = { dtype, shape: [...shape], data_offsets: [offset, offset + bytes] };
    members.push(`${JSON.stringify(name)}:${JSON.stringify(info)}`);
    offset += bytes;
  }
  const json = encoder.encode(`{${members.join(',')}}`);
  const padded = Math.ceil(json.length / 8) * 8;
  if (padded > MAX_HEADER_BYTES) fail(`a header of ${padded} bytes is over the limit of ${MAX_HEADER_BYTES}`);
  const head = new Uint8Array(LENGTH_BYTES + padded).fill(0x20);
  new DataView(head.buffer).setBigUint64(0, BigInt(padded), true);
  head.set(json, LENGTH_BYTES);
  return { head, order: entries.map((entry) => entry.name) };
}

/** Where the header ends and the data begins. @param bytes the file's first 8 bytes, or more */
export function safetensorsHeaderEnd(bytes: Uint8Array, fileBytes: number): number {
  if (bytes.length < LENGTH_BYTES)
    fail(`expected at least 8 bytes for the header length, got a file of ${bytes.length}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, LENGTH_BYTES);
  const length = view.getBigUint64(0, true);
  if (length > MAX_HEADER_BYTES) {
    fail(
      `the header length (bytes 0 to 8) is ${length}, over the limit of ${MAX_HEADER_BYTES}; is this a safetensors file?`,
    );
  }
  const end = LENGTH_BYTES + Number(length);
  if (end > fileBytes) {
    fail(`the header (bytes 8 to ${end}) ends beyond the file of ${fileBytes} bytes; is it truncated?`);
  }
  return end;
}

function parseHeader(bytes: Uint8Array, end: number): Map<string, unknown> {
  const where = `the header (bytes 8 to ${end})`;
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    fail(`${where} is not UTF-8 text`);
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    fail(`${where} is not JSON: ${(cause as Error).message}`);
  }
  if (!isObject(json)) fail(`${where}: expected a JSON object, got ${describe(json)}`);
  const repeated = findRepeatedKey(text);
  if (repeated !== undefined) fail(`${where} holds the key ${JSON.stringify(repeated)} twice`);
  return new Map(Object.entries(json));
}

/** JSON.parse keeps the last of two equal keys; two readers that disagree on which are a way to smuggle weights in. */
function findRepeatedKey(json: string): string | undefined {
  const seen: Set<string>[] = [];
  let depth = 0;
  for (let i = 0; i < json.length; i++) {
    const char = json[i];
    if (char === '{') seen[++depth] = new Set();
    else if (char === '[') depth++;
    else if (char === '}' || char === ']') depth--;
    else if (char === '"') {
      const start = i++;
      while (json[i] !== '"') i += json[i] === '\\' ? 2 : 1;
      const end = i + 1;
      while (' \t\n\r'.includes(json[i + 1])) i++;
      if (json[i + 1] !== ':') continue;
      const key = JSON.parse(json.slice(start, end)) as string;
      if (seen[depth].has(key)) return key;
      seen[depth].add(key);
    }
  }
  return undefined;
}

function parseMetadata(value: unknown): Record<string, string> {
  if (value === undefined || value === null) return {};
  if (!isObject(value)) fail(`${METADATA_KEY}: expected an object of strings, got ${describe(value)}`);
  for (const [key, item] of Object.entries(value)) {
    if (typeof item !== 'string')
      fail(`${METADATA_KEY}: ${JSON.stringify(key)}: expected a string, got ${describe(item)}`);
  }
  return value as Record<string, string>;
}

interface Info {
  name: string;
  dtype: SafetensorsDType;
  shape: number[];
  begin: number;
  end: number;
}

function parseInfo(name: string, value: unknown): Info {
  const where = `tensor ${JSON.stringify(name)}`;
  if (!isObject(value))
    fail(`${where}: expected an object with dtype, shape and data_offsets, got ${describe(value)}`);
  const { dtype, shape, data_offsets: offsets } = value;
  if (typeof dtype !== 'string' || !RANK.has(dtype)) {
    fail(`${where}: expected a dtype of ${[...RANK.keys()].join(', ')}, got ${describe(dtype)}`);
  }
  if (!isCounts(shape)) fail(`${where}: expected a shape of non-negative integers, got ${describe(shape)}`);
  if (!isCounts(offsets) || offsets.length !== 2) {
    fail(`${where}: expected data_offsets [begin, end], got ${describe(offsets)}`);
  }
  const [begin, end] = offsets;
  if (end < begin) fail(`${where}: data_offsets [${begin}, ${end}] end before they begin`);
  const bytes = byteLength(where, dtype as SafetensorsDType, shape);
  if (end - begin !== bytes) {
    fail(
      `${where}: expected ${bytes} bytes for ${dtype} [${shape.join(', ')}], got ${end - begin} (data_offsets [${begin}, ${end}])`,
    );
  }
  return { name, dtype: dtype as SafetensorsDType, shape, begin, end };
}

function checkEntry(name: string, entry: Readonly<SafetensorsEntry>): void {
  const where = `tensor ${JSON.stringify(name)}`;
  if (name === METADATA_KEY) fail(`${where}: this name is reserved`);
  if (isIllFormed(name)) fail(`${where}: half a surrogate pair is not text`);
  if (!isObject(entry)) fail(`${where}: expected { dtype, shape, data }, got ${describe(entry)}`);
  if (!RANK.has(entry.dtype)) {
    fail(`${where}: expected a dtype of ${[...RANK.keys()].join(', ')}, got ${describe(entry.dtype)}`);
  }
  if (!isCounts(entry.shape))
    fail(`${where}: expected a shape of non-negative integers, got ${describe(entry.shape)}`);
  if (!(entry.data instanceof Uint8Array))
    fail(`${where}: expected data as a Uint8Array, got ${describe(entry.data)}`);
  const bytes = byteLength(where, entry.dtype, entry.shape);
  if (entry.data.length !== bytes) {
    fail(
      `${where}: expected ${bytes} bytes for ${entry.dtype} [${entry.shape.join(', ')}], got ${entry.data.length}`,
    );
  }
}

function byteLength(where: string, dtype: SafetensorsDType, shape: readonly number[]): number {
  let bytes: number = SAFETENSORS_ITEM_SIZE[dtype];
  for (const size of shape) {
    bytes *= size;
    if (!Number.isSafeInteger(bytes))
      fail(`${where}: ${dtype} [${shape.join(', ')}] is more bytes than a file can hold`);
  }
  return bytes;
}

function isCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((n) => Number.isSafeInteger(n) && n >= 0 && !Object.is(n, -0));
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isIllFormed(text: string): boolean {
  return /\p{Surrogate}/u.test(text);
}

/** Rust compares strings by their UTF-8 bytes, JavaScript by UTF-16 units; they differ beyond U+FFFF. */
function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const shared = Math.min(a.length, b.length);
  for (let i = 0; i < shared; i++) if (a[i] !== b[i]) return a[i] - b[i];
  return a.length - b.length;
}

/** A value in an error message: short, and without calling anything that a hostile header could have put in its way. */
function describe(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (Array.isArray(value)) {
    const items = value.slice(0, 8).map((item) => (typeof item === 'object' ? '…' : describe(item)));
    return `[${items.join(', ')}${value.length > 8 ? ', …' : ''}]`;
  }
  if (typeof value === 'object' && value !== null) return Object.prototype.toString.call(value).slice(1, -1);
  if (typeof value === 'bigint') return `${value}n`;
  const text = typeof value === 'string' ? JSON.stringify(value) : String(value);
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}

function fail(message: string): never {
  throw new DataError(`safetensors: ${message}`);
}
