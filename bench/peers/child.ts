/**
 * One peer in a process of its own, so that backends never disturb one another. Requests come as lines of JSON on standard
 * input; replies go to file descriptor 3, since libraries print to standard output what they like.
 *
 * node --import tsx child.ts ENGINE ADAPTER
 */
import { writeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { type Engine, type Prepared, type Reply, type Request, sample } from './engine.js';

const [, , name, adapter] = process.argv;
const started = performance.now();

function reply(message: Reply): void {
  writeSync(3, `${JSON.stringify(message)}\n`);
}

async function open(): Promise<Engine> {
  const [module, backend] = name.split('-');
  const file = `./${module}.js`;
  const { openEngine } = (await import(file)) as {
    openEngine(backend: string, adapter: string): Promise<Engine>;
  };
  return openEngine(backend, adapter);
}

let engine: Engine;
let prepared: Prepared | null = null;

async function answer(request: Request): Promise<Reply> {
  switch (request.type) {
    case 'prepare':
      prepared = await engine.prepare(request.case);
      return { type: 'prepared' };
    case 'check': {
      const start = performance.now();
      const outputs = await prepared!.check();
      return { type: 'checked', firstMs: performance.now() - start, outputs: outputs.map(sample) };
    }
    case 'run': {
      const start = performance.now();
      const before = process.cpuUsage();
      for (let i = 0; i < request.iterations; i++) await prepared!.iterate();
      const { user, system } = process.cpuUsage(before);
      return { type: 'ran', ms: performance.now() - start, cpuMs: (user + system) / 1000 };
    }
    case 'dispose':
      prepared?.dispose();
      prepared = null;
      return { type: 'disposed' };
    case 'exit':
      process.exit(0);
  }
}

try {
  engine = await open();
  reply({ type: 'ready', info: engine.info, startMs: performance.now() - started });
} catch (error) {
  reply({ type: 'failed', message: (error as Error).message });
  process.exit(0);
}
for await (const line of createInterface({ input: process.stdin })) {
  try {
    reply(await answer(JSON.parse(line) as Request));
  } catch (error) {
    reply({ type: 'failed', message: (error as Error).message || String(error) });
  }
}
process.exit(0);
