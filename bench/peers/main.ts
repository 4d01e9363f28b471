/**
 * `npm run bench -- peers`: dawngrad beside other engines, each in a process of its own, on the same adapter, with the same
 * weights and inputs. What they compute is compared before any time counts.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { withEmptyCache } from '../empty-cache.js';
import type { Options } from '../options.js';
import { median, record, save, table } from '../report.js';
import { CASES, type Case, isStep } from './cases.js';
import type { EngineInfo } from './engine.js';
import { Peer } from './peer.js';
import { DISTURBED, Quiet } from './quiet.js';

const ROUNDS = 9;
/** An engine that takes longer over one case gives up on it. */
const PATIENCE_MS = 600_000;

interface Contender {
  readonly id: string;
  readonly ours: boolean;
  readonly group: 'webgpu' | 'cpu';
  readonly env?: Record<string, string>;
}

const CONTENDERS: readonly Contender[] = [
  { id: 'dawngrad-webgpu', ours: true, group: 'webgpu' },
  { id: 'jax-webgpu', ours: false, group: 'webgpu' },
  { id: 'tfjs-webgpu', ours: false, group: 'webgpu' },
  { id: 'dawngrad-cpu', ours: true, group: 'cpu' },
  { id: 'dawngrad-cpu-1', ours: true, group: 'cpu', env: { DAWNGRAD_THREADS: '1' } },
  { id: 'jax-wasm', ours: false, group: 'cpu' },
  { id: 'tfjs-wasm', ours: false, group: 'cpu' },
  // Its BLAS counts threads by itself, and a spare one would spin for a tenth of a second into the next engine's turn.
  { id: 'torch', ours: false, group: 'cpu', env: { OPENBLAS_NUM_THREADS: '1', OMP_NUM_THREADS: '1' } },
];

const COLUMNS: Record<string, string> = {
  'dawngrad-webgpu': 'dawngrad',
  'jax-webgpu': 'jax-js',
  'tfjs-webgpu': 'TF.js',
  'dawngrad-cpu': 'dawngrad',
  'dawngrad-cpu-1': '1 thread',
  'jax-wasm': 'jax-js',
  'tfjs-wasm': 'TF.js',
  torch: 'PyTorch',
};

export interface PeerRow {
  readonly name: string;
  readonly repeat: number;
  /** Median ms per iteration, by contender; null where it cannot compute the case. */
  readonly ms: Record<string, number | null>;
  /** The same of each one's quickest round: what it takes while nothing else runs on the machine. */
  readonly leastMs: Record<string, number | null>;
  /** Medians again, as processor time of all threads: what other programs on the machine disturb least. */
  readonly cpuMs: Record<string, number | null>;
  /** With --quiet: how many turns were run, and how much the most disturbed of those that count was (1: not at all). */
  readonly quiet?: Record<string, { readonly run: number; readonly worst: number }>;
  /** ms of the first evaluation in its process, compilation included. */
  readonly firstMs: Record<string, number>;
  /** Time of the fastest JavaScript peer of the same kind over ours; above 1 we are faster. */
  readonly ratio: Ratio;
  readonly leastRatio: Ratio;
  readonly cpuRatio: Ratio;
}

interface Ratio {
  readonly webgpu: number | null;
  readonly cpu: number | null;
}

export function peersInstalled(): boolean {
  return existsSync(new URL('node_modules/@jax-js/jax/package.json', import.meta.url));
}

function python(): string | null {
  for (const path of [process.env.PYTHON, '/usr/bin/python3']) {
    if (path && spawnSync(path, ['-c', 'import torch'], { stdio: 'ignore' }).status === 0) return path;
  }
  return null;
}

function command(contender: Contender, adapter: string, torch: string | null): [string, string[]] | null {
  const file = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
  if (contender.id === 'torch') return torch === null ? null : [torch, [file('torch_step.py')]];
  const [module, backend] = contender.id.split('-');
  return [process.execPath, ['--import', 'tsx', file('child.ts'), `${module}-${backend}`, adapter]];
}

/** Largest difference of two samples, relative to the largest value of the first. */
function difference(expected: readonly number[], got: readonly number[]): number {
  if (expected.length !== got.length) return Infinity;
  let largest = 0;
  let apart = 0;
  for (let i = 0; i < expected.length; i++) {
    largest = Math.max(largest, Math.abs(expected[i]));
    const d = Math.abs(expected[i] - got[i]);
    // NaN counts as disagreement.
    apart = d <= apart ? apart : Number.isNaN(d) ? Infinity : d;
  }
  return largest === 0 ? apart : apart / largest;
}

export async function benchPeers(options: Options): Promise<void> {
  if (!peersInstalled()) {
    console.log(
      'The peers are not installed. They stay out of the package; to get them:\n\n  npm ci --prefix bench/peers\n',
    );
    process.exitCode = 1;
    return;
  }
  const adapter = options.adapter ?? 'swiftshader';
  if (options.cold) return coldPeers(adapter, options);
  const wanted = options.engines ?? /./;
  const torch = python();
  const peers = new Map<string, Peer>();
  const absent: string[] = [];
  for (const contender of CONTENDERS) {
    if (!wanted.test(contender.id)) continue;
    if (options.device && contender.group !== options.device) continue;
    const start = command(contender, adapter, torch);
    if (start === null) {
      absent.push('PyTorch: absent (no python3 with torch; name one in $PYTHON)');
      continue;
    }
    const peer = new Peer(contender.id, start, { ...process.env, ...contender.env }, PATIENCE_MS);
    const failure = await peer.open();
    if (failure === null) peers.set(contender.id, peer);
    else absent.push(`${contender.id}: ${failure}`);
  }
  const infos: Record<string, EngineInfo> = {};
  for (const [id, { info }] of peers) {
    infos[id] = info!;
    console.log(`  ${id.padEnd(16)} ${info!.name} ${info!.version} · ${info!.device}`);
  }
  for (const line of absent) console.log(`  ${line}`);
  const quiet = options.quiet === undefined ? null : await Quiet.open();
  const rows: PeerRow[] = [];
  const problems: string[] = [];
  let file: string | null = null;
  const cases = CASES.filter(
    (c) => (options.large || !c.large) && (!options.only || options.only.test(c.name)),
  );
  try {
    for (const c of cases) {
      rows.push(await runCase(c, peers, options, quiet, problems));
      // Kept after every case: a long run may be interrupted.
      const results = { adapter, engines: infos, absent, problems, rows };
      file = save(options, 'peers', results, infos['dawngrad-webgpu']?.device);
    }
  } finally {
    for (const peer of peers.values()) peer.close();
    await quiet?.close();
  }
  print(rows, [...peers.keys()]);
  for (const problem of problems) console.log(`  ${problem}`);
  if (problems.some((p) => p.includes('DISAGREES'))) process.exitCode = 1;
  if (file) console.log(`\nWritten to ${file}`);
}

/** First steps, each engine and step in a process of its own, with an empty cache of shaders. */
async function coldPeers(adapter: string, options: Options): Promise<void> {
  const torch = python();
  const contenders = CONTENDERS.filter(
    ({ id, group }) =>
      (!options.engines || options.engines.test(id)) && (!options.device || group === options.device),
  );
  const cases = CASES.filter(
    (c) => isStep(c) && (options.large || !c.large) && (!options.only || options.only.test(c.name)),
  );
  const rows: { name: string; engine: string; startMs: number | null; firstMs: number | null }[] = [];
  for (const c of cases) {
    for (const contender of contenders) {
      const start = command(contender, adapter, torch);
      if (start === null) continue;
      const row = await withEmptyCache(async (cache) => {
        const env = { ...process.env, ...contender.env, ...cache };
        const peer = new Peer(contender.id, start, env, PATIENCE_MS);
        const none = { name: c.name, engine: contender.id, startMs: null, firstMs: null };
        try {
          if ((await peer.open()) !== null) return null;
          await peer.ask({ type: 'prepare', case: c }, 'prepared');
          const { ms } = await peer.ask({ type: 'run', iterations: 1 }, 'ran');
          return { ...none, startMs: peer.startMs, firstMs: ms };
        } catch {
          return none;
        } finally {
          peer.close();
        }
      });
      if (row) rows.push(row);
    }
  }
  const cell = (value: number | null): string => (value === null ? '—' : value.toFixed(0));
  table(
    `First step of a process on ${adapter}, shader cache empty, ms`,
    ['', 'engine', 'to open the device', 'first step'],
    rows.map((r) => [r.name, r.engine, cell(r.startMs), cell(r.firstMs)]),
  );
  record(options, 'peers-cold', { adapter, rows }, adapter);
}

/** Runs one case everywhere: first results, then rounds by turns. */
async function runCase(
  c: Case,
  peers: ReadonlyMap<string, Peer>,
  options: Options,
  quiet: Quiet | null,
  problems: string[],
): Promise<PeerRow> {
  process.stderr.write(`  ${c.name} … `);
  const firstMs: Record<string, number> = {};
  const ms: Record<string, number | null> = {};
  const leastMs: Record<string, number | null> = {};
  const cpuMs: Record<string, number | null> = {};
  const outputs = new Map<string, number[][]>();
  for (const [id, peer] of peers) {
    ms[id] = leastMs[id] = cpuMs[id] = null;
    try {
      await peer.ask({ type: 'prepare', case: c }, 'prepared');
      const checked = await peer.ask({ type: 'check' }, 'checked');
      firstMs[id] = checked.firstMs;
      outputs.set(id, checked.outputs);
    } catch (error) {
      problems.push(`${c.name}, ${id}: ${(error as Error).message.split('\n')[0]}`);
    }
  }
  const reference =
    ['dawngrad-cpu', 'dawngrad-cpu-1', 'torch'].find((id) => outputs.has(id)) ?? [...outputs.keys()][0];
  for (const [id, got] of [...outputs]) {
    const expected = outputs.get(reference)!;
    const apart = Math.max(...expected.map((values, i) => difference(values, got[i] ?? [])));
    if (got.length === expected.length && apart <= c.tolerance) continue;
    problems.push(`${c.name}: ${id} DISAGREES with ${reference} by ${apart.toExponential(1)}; not timed`);
    outputs.delete(id);
  }
  const running = [...outputs.keys()];
  const counts = new Map<string, number>();
  for (const id of running) counts.set(id, await calibrate(peers.get(id)!, options.seconds));
  const rounds = await runRounds(running, counts, peers, options.rounds ?? ROUNDS, quiet, options.quiet ?? 0);
  for (const [id, { turns }] of rounds) {
    ms[id] = median(turns.map((turn) => turn.ms));
    leastMs[id] = Math.min(...turns.map((turn) => turn.ms));
    cpuMs[id] = median(turns.map((turn) => turn.cpuMs));
  }
  for (const peer of peers.values())
    if (peer.alive) await peer.ask({ type: 'dispose' }, 'disposed').catch(() => {});
  const row: PeerRow = {
    name: c.name,
    repeat: c.repeat,
    ms,
    leastMs,
    cpuMs,
    ...(quiet && { quiet: quietness(rounds, quiet) }),
    firstMs,
    ratio: ratios(ms),
    leastRatio: ratios(leastMs),
    cpuRatio: ratios(cpuMs),
  };
  const disturbed = Object.entries(row.quiet ?? {})
    .filter(([, { worst }]) => worst > DISTURBED)
    .map(([id, { worst }]) => `, ${id} disturbed ${worst.toFixed(1)} ×`);
  process.stderr.write(
    `webgpu ${format(row.ratio.webgpu)}, cpu ${format(row.ratio.cpu)}${disturbed.join('')}\n`,
  );
  return row;
}

interface Turn {
  /** ms per iteration. */
  readonly ms: number;
  readonly cpuMs: number;
  /** ms of the probe, the slower one of before and after; 0 where nobody looked. */
  readonly probeMs: number;
}

interface Turns {
  readonly run: number;
  readonly turns: readonly Turn[];
}

/**
 * `rounds` turns of every engine, one after the other, each round beginning with another engine. With `quiet`, a turn
 * waits for a quiet moment and is repeated if it was disturbed, for `minutes`; then each engine's quietest turns count, as the
 * probes before and after them have it, whatever time they took.
 */
async function runRounds(
  running: readonly string[],
  counts: ReadonlyMap<string, number>,
  peers: ReadonlyMap<string, Peer>,
  rounds: number,
  quiet: Quiet | null,
  minutes: number,
): Promise<Map<string, Turns>> {
  const until = performance.now() + minutes * 60_000;
  const turns = new Map(running.map((id) => [id, [] as Turn[]]));
  const isLeft = (id: string): boolean => {
    const all = turns.get(id)!;
    if (all.length < rounds) return true;
    if (!quiet || performance.now() > until) return false;
    return all.filter(({ probeMs }) => quiet.isQuiet(probeMs)).length < rounds;
  };
  for (let round = 0; ; round++) {
    const left = running.map((_, i) => running[(i + round) % running.length]).filter(isLeft);
    if (left.length === 0) break;
    for (const id of left) {
      const before = quiet ? await quiet.wait(until) : 0;
      const iterations = counts.get(id)!;
      const ran = await peers.get(id)!.ask({ type: 'run', iterations }, 'ran');
      const after = quiet ? await quiet.probe() : 0;
      turns.get(id)!.push({
        ms: ran.ms / iterations,
        cpuMs: ran.cpuMs / iterations,
        probeMs: Math.max(before, after),
      });
    }
  }
  return new Map(
    [...turns].map(([id, all]) => [
      id,
      { run: all.length, turns: all.toSorted((a, b) => a.probeMs - b.probeMs).slice(0, rounds) },
    ]),
  );
}

function quietness(engines: ReadonlyMap<string, Turns>, { leastMs }: Quiet): PeerRow['quiet'] {
  const worst = (turns: readonly Turn[]): number =>
    Math.max(...turns.map(({ probeMs }) => probeMs)) / leastMs;
  return Object.fromEntries([...engines].map(([id, { run, turns }]) => [id, { run, worst: worst(turns) }]));
}

/** Warms up, and finds how many iterations fill a round. */
async function calibrate(peer: Peer, seconds: number): Promise<number> {
  const budget = seconds * 1000;
  let iterations = 1;
  for (;;) {
    const { ms } = await peer.ask({ type: 'run', iterations }, 'ran');
    if (ms > budget / 2 || iterations >= 256) {
      return Math.max(1, Math.min(1000, Math.round((iterations * budget) / Math.max(ms, 0.01))));
    }
    iterations *= 2;
  }
}

function ratios(ms: Record<string, number | null>): Ratio {
  const ratio = (ours: string, theirs: string[]): number | null => {
    const own = ms[ours];
    const best = Math.min(...theirs.map((id) => ms[id] ?? Infinity));
    return own && best < Infinity ? best / own : null;
  };
  return {
    webgpu: ratio('dawngrad-webgpu', ['jax-webgpu', 'tfjs-webgpu']),
    cpu: ratio('dawngrad-cpu', ['jax-wasm', 'tfjs-wasm']),
  };
}

const format = (ratio: number | null): string => (ratio === null ? '—' : `${ratio.toFixed(2)} ×`);

function print(rows: readonly PeerRow[], ids: readonly string[]): void {
  const cell = (value: number | null | undefined): string => (value == null ? '—' : value.toPrecision(3));
  for (const group of ['webgpu', 'cpu'] as const) {
    const own = CONTENDERS.filter((c) => c.group === group && ids.includes(c.id)).map(({ id }) => id);
    if (own.length === 0) continue;
    const title =
      group === 'webgpu'
        ? 'WebGPU, ms per iteration (× : time of the faster peer over ours)'
        : 'Without a GPU, ms per iteration (× : time of the faster WebAssembly peer over ours)';
    const heads = ['', ...own.map((id) => COLUMNS[id]), '×'];
    const line = (row: PeerRow, times: PeerRow['ms'], ratio: Ratio): string[] => [
      row.repeat > 1 ? `${row.name}  (${row.repeat} per iteration)` : row.name,
      ...own.map((id) => cell(times[id])),
      format(ratio[group]),
    ];
    table(
      title,
      [...heads, '× processor time'],
      rows.map((row) => [...line(row, row.ms, row.ratio), format(row.cpuRatio[group])]),
    );
    table(
      'The same, the quickest round of each',
      heads,
      rows.map((row) => line(row, row.leastMs, row.leastRatio)),
    );
  }
}
