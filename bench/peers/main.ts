/**
 * `npm run bench -- peers`: dawngrad beside other engines, each in a process of its own, on the same adapter, with the same
 * weights and inputs. What they compute is compared before any time counts.
 */
import { existsSync } from 'node:fs';
import type { Options } from '../options.js';
import { median, save, table } from '../report.js';
import { CASES, type Case } from './cases.js';
import { coldPeers } from './cold.js';
import { COLUMNS, CONTENDERS, command, PATIENCE_MS, python } from './contenders.js';
import type { EngineInfo } from './engine.js';
import { Peer } from './peer.js';
import { DISTURBED, Quiet } from './quiet.js';
import { runRounds, type Turn } from './rounds.js';

const ROUNDS = 9;
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
  const turn = async (id: string): Promise<Turn> => {
    const iterations = counts.get(id)!;
    const ran = await peers.get(id)!.ask({ type: 'run', iterations }, 'ran');
    return { ms: ran.ms / iterations, cpuMs: ran.cpuMs / iterations };
  };
  const rounds = await runRounds(running, turn, {
    rounds: options.rounds ?? ROUNDS,
    quiet,
    minutes: options.quiet,
  });
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
    ...(quiet && {
      quiet: Object.fromEntries([...rounds].map(([id, { run, worst }]) => [id, { run, worst: worst! }])),
    }),
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
