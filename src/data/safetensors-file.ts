/** Node only. Safetensors files on disk. */
import { open } from 'node:fs/promises';
import { DataError } from '../device/errors.js';
import { writeFileAtomic } from './atomic-file.js';
import {
  layoutSafetensors,
  parseSafetensors,
  type SafetensorsContents,
  type SafetensorsInput,
} from './safetensors.js';

/** Node reads at most 2 GiB − 1 in one call, and `readFile` refuses larger files altogether. */
const READ_BYTES = 2 ** 30;

/**
 * Reads a safetensors file.
 * @param path the file
 * @returns tensors by name, in file order, and the metadata
 * @throws DataError naming the file, when it cannot be read or breaks the format's rules
 * @source safetensors.torch.load_file
 */
export async function readSafetensorsFile(path: string): Promise<SafetensorsContents> {
  try {
    return parseSafetensors(await readWhole(path));
  } catch (cause) {
    throw named('readSafetensorsFile', path, cause);
  }
}

/**
 * Writes a safetensors file so that a crash leaves either the old file or the new one.
 * @param path the file to make or replace; its folder must exist
 * @param tensors entries by name, as a Map or an object
 * @param metadata strings to keep in the header
 * @throws DataError naming the file, when it cannot be written or an entry is malformed
 * @source safetensors.torch.save_file
 */
export async function writeSafetensorsFile(
  path: string,
  tensors: SafetensorsInput,
  metadata?: Readonly<Record<string, string>>,
): Promise<void> {
  try {
    await writeFileAtomic(path, layoutSafetensors(tensors, metadata));
  } catch (cause) {
    throw named('writeSafetensorsFile', path, cause);
  }
}

async function readWhole(path: string): Promise<Uint8Array> {
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    const bytes = new Uint8Array(size);
    let offset = 0;
    while (offset < size) {
      const { bytesRead } = await file.read(bytes, offset, Math.min(READ_BYTES, size - offset), offset);
      if (bytesRead === 0)
        throw new DataError(`expected ${size} bytes, got ${offset}: it became shorter while being read`);
      offset += bytesRead;
    }
    return bytes;
  } finally {
    await file.close();
  }
}

function named(operation: string, path: string, cause: unknown): DataError {
  const message = cause instanceof Error ? cause.message.replace(/^safetensors: /, '') : String(cause);
  return new DataError(`${operation}: ${path}: ${message}`, { cause });
}
