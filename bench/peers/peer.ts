/** A peer's process, kept alive, spoken to in lines of JSON. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import type { EngineInfo, Reply, Request } from './engine.js';

export class Peer {
  info: EngineInfo | null = null;
  startMs = 0;
  alive = true;
  readonly #process: ChildProcess;
  readonly #replies: AsyncIterator<string>;
  #errors = '';

  constructor(
    readonly id: string,
    [path, args]: [string, string[]],
    env: NodeJS.ProcessEnv,
    private readonly patienceMs: number,
  ) {
    // Standard output is the library's; it is dropped, and the last errors are kept for the report.
    this.#process = spawn(path, args, { env, stdio: ['pipe', 'ignore', 'pipe', 'pipe'] });
    this.#process.stderr!.on('data', (data) => {
      this.#errors = (this.#errors + data).slice(-2000);
    });
    this.#process.on('error', () => {});
    this.#process.stdin!.on('error', () => {});
    this.#process.on('exit', () => {
      this.alive = false;
    });
    this.#replies = createInterface({ input: this.#process.stdio[3] as Readable })[Symbol.asyncIterator]();
  }

  /** Why it did not start, or null. */
  async open(): Promise<string | null> {
    const reply = await this.#next();
    if (reply.type === 'ready') {
      this.info = reply.info;
      this.startMs = reply.startMs;
      return null;
    }
    this.close();
    return reply.type === 'failed' ? reply.message : `expected 'ready', got '${reply.type}'`;
  }

  /** @throws Error with the peer's message where it fails, dies, or takes too long (it is ended then). */
  async ask<T extends Reply['type']>(request: Request, expected: T): Promise<Extract<Reply, { type: T }>> {
    if (!this.alive) throw new Error('its process has ended');
    this.#process.stdin!.write(`${JSON.stringify(request)}\n`);
    const reply = await this.#next();
    if (reply.type === 'failed') throw new Error(reply.message);
    if (reply.type !== expected) throw new Error(`expected '${expected}', got '${reply.type}'`);
    return reply as Extract<Reply, { type: T }>;
  }

  async #next(): Promise<Reply> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<null>((resolve) => {
      timer = setTimeout(() => resolve(null), this.patienceMs);
    });
    const result = await Promise.race([this.#replies.next(), late]);
    clearTimeout(timer);
    if (result === null) {
      this.close();
      return { type: 'failed', message: `no answer within ${this.patienceMs / 1000} s` };
    }
    if (result.done) {
      this.alive = false;
      return { type: 'failed', message: `its process ended: ${this.#errors.trim().split('\n').pop() ?? ''}` };
    }
    return JSON.parse(result.value) as Reply;
  }

  close(): void {
    this.alive = false;
    this.#process.kill('SIGKILL');
  }
}
