/** Node only. parquet-wasm in a thread of its own. */
import { createRequire } from 'node:module';
import { Worker } from 'node:worker_threads';

/** What the footer of a parquet file says. */
export interface ParquetFooter {
  /** The schema as a stream of Apache Arrow without rows. */
  readonly schema: Uint8Array;
  readonly groups: readonly { readonly rows: number; readonly bytes: ReadonlyMap<string, number> }[];
}

/** What to read of a row group. */
export interface ParquetRead {
  readonly columns: readonly string[];
  readonly rowGroups: readonly number[];
  readonly batchSize: number;
}

/**
 * The thread's program: one answer for each request. A string, because a file of its own would have to be found from
 * sources, from dist and from bundles.
 */
const WORK = `
'use strict';
const { openAsBlob } = require('node:fs');
const { parentPort, workerData } = require('node:worker_threads');
const { ParquetFile, wasmMemory } = require(workerData.module);
let file;
let reader;
const requests = {
  async open() {
    file = await ParquetFile.fromFile(await openAsBlob(workerData.path));
    const metadata = file.metadata();
    const groups = Array.from({ length: metadata.numRowGroups() }, (_, i) => {
      const group = metadata.rowGroup(i);
      const bytes = new Map();
      for (let c = 0; c < group.numColumns(); c++) {
        const column = group.column(c);
        // Nested columns have a chunk for each leaf; they are read by the name of their root.
        const name = column.columnPath()[0];
        bytes.set(name, (bytes.get(name) ?? 0) + Number(column.uncompressedSize()));
        column.free();
      }
      const rows = Number(group.numRows());
      group.free();
      return { rows, bytes };
    });
    metadata.free();
    return { schema: file.schema().intoIPCStream(), groups };
  },
  async start(options) {
    reader = (await file.stream(options)).getReader();
  },
  async next() {
    const { done, value } = await reader.read();
    return done ? null : value.intoIPCStream();
  },
  async stop() {
    await reader?.cancel();
    reader = undefined;
  },
};
parentPort.on('message', async ([name, options]) => {
  const message = {};
  try {
    message.answer = await requests[name](options);
  } catch (error) {
    message.error = error?.message ?? String(error);
  }
  message.memory = wasmMemory().buffer.byteLength;
  parentPort.postMessage(message, message.answer instanceof Uint8Array ? [message.answer.buffer] : []);
});
`;

/** The module's own word for a panic, "unreachable", would tell nobody anything. */
const PANIC = 'it is damaged';

/**
 * A parquet file, open in a thread of its own: in damaged pages parquet-wasm panics, which comes from no call or promise that
 * could be caught, ends the thread it happens in, and leaves a module that must not be used again.
 *
 * One request at a time. An idle thread does not keep the process alive.
 */
export class ParquetWorker {
  /** Bytes of the module's memory after the last request. */
  memory = 0;
  private readonly worker: Worker;
  private failure: Error | null = null;
  private settle: ((message: { answer?: unknown; error?: string }) => void) | null = null;

  constructor(path: string) {
    const module = createRequire(import.meta.url).resolve('parquet-wasm');
    const workerData = { module, path };
    this.worker = new Worker(WORK, { eval: true, workerData, execArgv: [], env: {}, name: 'parquet' });
    this.worker.unref();
    this.worker.on('message', ({ memory, ...message }) => {
      this.memory = memory;
      this.settle?.(message);
    });
    this.worker.on('error', ({ name, message }: Error) =>
      this.end(name === 'RuntimeError' ? PANIC : message),
    );
    this.worker.on('exit', () => this.end('the thread that reads it has ended'));
  }

  /** Whether requests are still answered. */
  get isAlive(): boolean {
    return this.failure === null;
  }

  /** Reads the footer; before anything else. */
  open(): Promise<ParquetFooter> {
    return this.request('open') as Promise<ParquetFooter>;
  }

  /** Record batches as streams of Apache Arrow, each freed in the module's memory once it is copied out. */
  async *batches(options: ParquetRead): AsyncGenerator<Uint8Array> {
    await this.request('start', options);
    try {
      for (;;) {
        const batch = (await this.request('next')) as Uint8Array | null;
        if (batch === null) return;
        yield batch;
      }
    } finally {
      if (this.isAlive) await this.request('stop').catch(() => {});
    }
  }

  terminate(): void {
    void this.worker.terminate();
  }

  private async request(name: string, options?: unknown): Promise<unknown> {
    if (this.failure) throw this.failure;
    this.worker.ref();
    try {
      return await new Promise((resolve, reject) => {
        this.settle = ({ answer, error }) =>
          error === undefined ? resolve(answer) : reject(new Error(error));
        this.worker.postMessage([name, options]);
      });
    } finally {
      this.settle = null;
      this.worker.unref();
    }
  }

  private end(why: string): void {
    this.failure ??= new Error(why);
    this.settle?.({ error: this.failure.message });
  }
}
