/** Node only. Tensors to safetensors files and back. */

import { SAFETENSORS_ITEM_SIZE, type SafetensorsDType, type SafetensorsEntry } from '../data/safetensors.js';
import { readSafetensorsFile, writeSafetensorsFile } from '../data/safetensors-file.js';
import { safetensorsEntry, toFloat32, toFloat64, toInt32 } from '../data/safetensors-values.js';
import type { DType } from '../device/dtype.js';
import { DataError } from '../device/errors.js';
import type { Device } from '../device/types.js';
import { fromHost } from '../tensor/factories.js';
import type { Tensor } from '../tensor/tensor.js';

/** The file's type for a tensor's. */
const STORED: Readonly<Record<DType, SafetensorsDType>> = {
  float32: 'F32',
  float64: 'F64',
  float16: 'F16',
  int32: 'I32',
  uint32: 'U32',
  bool: 'BOOL',
};

/** Reads tensors from their device as entries of a safetensors file. */
export async function tensorsToEntries(
  tensors: ReadonlyMap<string, Tensor>,
): Promise<Map<string, SafetensorsEntry>> {
  const entries = new Map<string, SafetensorsEntry>();
  for (const [name, t] of tensors)
    entries.set(name, safetensorsEntry(await t.data(), t.shape, STORED[t.dtype]));
  return entries;
}

/** A tensor of an entry's own dtype, half-precision kinds and float64 widened or narrowed to float32 unless `dtype` says otherwise. */
export function entryToTensor(name: string, entry: SafetensorsEntry, device: Device, dtype?: DType): Tensor {
  const { dtype: stored, shape } = entry;
  if (!(stored in SAFETENSORS_ITEM_SIZE))
    throw new DataError(`tensor '${name}': expected a known dtype, got ${stored}`);
  if (stored === 'BOOL') return fromHost(entry.data, shape, { dtype: 'bool', device }, name);
  if (/^[IU]/.test(stored)) return fromHost(toInt32(entry), shape, { dtype: dtype ?? 'int32', device }, name);
  if (stored === 'F64' && dtype === 'float64')
    return fromHost(toFloat64(entry), shape, { dtype, device }, name);
  return fromHost(toFloat32(entry), shape, { dtype: dtype ?? 'float32', device }, name);
}

/**
 * Saves tensors by name, e.g. a module's stateDict(), as a safetensors file; the old file stays until the new one is whole.
 *
 * @throws DataError naming the file.
 * @source safetensors.torch.save_file
 */
export async function saveTensors(
  path: string,
  tensors: ReadonlyMap<string, Tensor>,
  metadata?: Readonly<Record<string, string>>,
): Promise<void> {
  await writeSafetensorsFile(path, await tensorsToEntries(tensors), metadata);
}

/**
 * Loads every tensor of a safetensors file onto a device.
 *
 * @throws DataError naming the file and where it is malformed.
 * @source safetensors.torch.load_file
 */
export async function loadTensors(
  path: string,
  device: Device,
): Promise<{ tensors: Map<string, Tensor>; metadata: Record<string, string> }> {
  const { tensors, metadata } = await readSafetensorsFile(path);
  const loaded = new Map<string, Tensor>();
  for (const [name, entry] of tensors) loaded.set(name, entryToTensor(name, entry, device));
  return { tensors: loaded, metadata };
}
