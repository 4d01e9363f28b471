/** `npm run bench -- peers --cold`: first steps, each in a process of its own, with an empty cache of shaders. */
import { withEmptyCache } from '../empty-cache.js';
import type { Options } from '../options.js';
import { median, record, table } from '../report.js';
import { CASES, type Case, isStep } from './cases.js';
import { CONTENDERS, type Contender, command, PATIENCE_MS, python } from './contenders.js';
import { Peer } from './peer.js';
import { Quiet } from './quiet.js';
import { runRounds, type Turn, type Turns } from './rounds.js';

interface First extends Turn {
  /** ms until the process had its device. */
  readonly startMs: number;
}

export interface ColdRow {
  readonly name: string;
  readonly engine: string;
  /** Medians; null where the engine cannot compute the case. */
  readonly startMs: number | null;
  readonly firstMs: number | null;
  readonly leastMs: number | null;
  /** First steps that were run, and how much the most disturbed one that counts was slowed down. */
  readonly run: number;
  readonly worst: number | null;
}

export async function coldPeers(adapter: string, options: Options): Promise<void> {
  const torch = python();
  const contenders = CONTENDERS.filter(
    (contender) =>
      (!options.engines || options.engines.test(contender.id)) &&
      (!options.device || contender.group === options.device) &&
      command(contender, adapter, torch) !== null,
  );
  const cases = CASES.filter(
    (c) => isStep(c) && (options.large || !c.large) && (!options.only || options.only.test(c.name)),
  );
  const { rounds = 1, quiet: minutes } = options;
  const quiet = minutes === undefined ? null : await Quiet.open();
  const rows: ColdRow[] = [];
  for (const c of cases) {
    const turn = (id: string): Promise<First | null> => {
      const contender = contenders.find((one) => one.id === id)!;
      return firstStep(contender, command(contender, adapter, torch)!, c);
    };
    const ids = contenders.map(({ id }) => id);
    const results = await runRounds(ids, turn, { rounds, quiet, minutes });
    for (const engine of ids) rows.push(rowOf(c.name, engine, results.get(engine)));
  }
  await quiet?.close();
  const cell = (value: number | null): string => (value === null ? '—' : value.toFixed(0));
  table(
    `First step of a process on ${adapter}, shader cache empty, ms: ${rounds === 1 ? 'one run' : `medians of ${rounds} runs`}`,
    ['', 'engine', 'to open the device', 'first step', 'the quickest', ...(quiet ? ['disturbed'] : [])],
    rows.map((r) => [
      r.name,
      r.engine,
      cell(r.startMs),
      cell(r.firstMs),
      cell(r.leastMs),
      ...(quiet ? [r.worst === null ? '—' : `${r.worst.toFixed(2)} ×, ${r.run} run`] : []),
    ]),
  );
  record(options, 'peers-cold', { adapter, rows }, adapter);
}

function rowOf(name: string, engine: string, result: Turns<First> | undefined): ColdRow {
  if (!result) return { name, engine, startMs: null, firstMs: null, leastMs: null, run: 0, worst: null };
  const times = result.turns.map(({ ms }) => ms);
  const { run, worst } = result;
  return {
    name,
    engine,
    startMs: median(result.turns.map(({ startMs }) => startMs)),
    firstMs: median(times),
    leastMs: Math.min(...times),
    run,
    worst,
  };
}

/** A new process takes one step; null where it fails. */
async function firstStep(contender: Contender, start: [string, string[]], c: Case): Promise<First | null> {
  return withEmptyCache(async (cache) => {
    const env = { ...process.env, ...contender.env, ...cache };
    const peer = new Peer(contender.id, start, env, PATIENCE_MS);
    try {
      if ((await peer.open()) !== null) return null;
      await peer.ask({ type: 'prepare', case: c }, 'prepared');
      const { ms, cpuMs } = await peer.ask({ type: 'run', iterations: 1 }, 'ran');
      return { ms, cpuMs, startMs: peer.startMs };
    } catch {
      return null;
    } finally {
      peer.close();
    }
  });
}
