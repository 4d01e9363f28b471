/** Node only. Safetensors files read piece by piece, so that a tensor need not fit into host memory beside its copy. */
import { type FileHandle, open } from 'node:fs/promises';
import { DataError } from '../device/errors.js';
import { parseSafetensorsHeader, type SafetensorsPlace, safetensorsHeaderEnd } from './safetensors.js';

/** An open file, of which the header has been read. */
export class SafetensorsReader {
  private constructor(
    /** For messages. */
    readonly path: string,
    private readonly file: FileHandle,
    /** The tensors in the order of their bytes in the file. */
    readonly tensors: ReadonlyMap<string, SafetensorsPlace>,
    readonly metadata: Readonly<Record<string, string>>,
  ) {}

  /**
   * @param path the file
   * @throws DataError naming the file, when it cannot be read or breaks the format's rules
   */
  static async open(path: string): Promise<SafetensorsReader> {
    let file: FileHandle | undefined;
    try {
      file = await open(path, 'r');
      const { size } = await file.stat();
      const start = await readAt(file, new Uint8Array(Math.min(8, size)), 0);
      const head = await readAt(file, new Uint8Array(safetensorsHeaderEnd(start, size)), 0);
      const { tensors, metadata } = parseSafetensorsHeader(head, size);
      return new SafetensorsReader(path, file, tensors, metadata);
    } catch (cause) {
      await file?.close();
      throw new DataError(`${path}: ${(cause as Error).message.replace(/^safetensors: /, '')}`, { cause });
    }
  }

  /**
   * The bytes of a tensor, in order. Each piece is overwritten by the next one.
   * @param buffer what to read into; its length is that of the pieces, but for the last one
   * @throws DataError when the file has become shorter
   */
  async *pieces(name: string, buffer: Uint8Array): AsyncGenerator<Uint8Array> {
    const place = this.tensors.get(name);
    if (!place) throw new DataError(`${this.path}: expected a tensor '${name}', got none`);
    for (let at = place.begin; at < place.end; at += buffer.length) {
      const piece = buffer.subarray(0, Math.min(buffer.length, place.end - at));
      try {
        await readAt(this.file, piece, at);
      } catch (cause) {
        throw new DataError(`${this.path}: tensor '${name}': ${(cause as Error).message}`, { cause });
      }
      yield piece;
    }
  }

  async close(): Promise<void> {
    await this.file.close();
  }
}

async function readAt(file: FileHandle, bytes: Uint8Array, position: number): Promise<Uint8Array> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesRead } = await file.read(bytes, done, bytes.length - done, position + done);
    if (bytesRead === 0) throw new DataError(`expected bytes from ${position + done} on, got the file's end`);
    done += bytesRead;
  }
  return bytes;
}
