/** Downloads from a server of our own that serves the Hub's interface: no test reaches the network. */
import { lstat, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import '../../src/autograd/methods.js';
import { type HubProgress, openHubRepo } from '../../src/data/hub.js';
import { DataError } from '../../src/device/errors.js';
import { GPT2 } from '../../src/models/gpt2.js';
import '../../src/models/gpt2-weights.js';
import { cpuDevice } from '../../src/tensor/default-device.js';
import { gitHash, type HubServer, send, sha256, startHub } from '../support/hub-server.js';

const NAME = 'owner/model';
const big = Buffer.from(Uint8Array.from({ length: 300_000 }, (_, i) => (i * 2_654_435_761) >>> 24));
const config = Buffer.from('{"a": 1}\n');
let home: string;
let hub: HubServer;

async function serve(token?: string): Promise<void> {
  hub = await startHub(NAME, { 'config.json': { data: config }, 'big.bin': { data: big, lfs: true } }, token);
  vi.stubEnv('HF_ENDPOINT', `${hub.url}/`);
}
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'dawngrad-hub-'));
  vi.stubEnv('HF_HOME', home);
  for (const name of ['HF_TOKEN', 'HF_HUB_CACHE', 'HUGGINGFACE_HUB_CACHE', 'HF_HUB_OFFLINE'])
    vi.stubEnv(name, undefined);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await hub?.close();
  await rm(home, { recursive: true, force: true });
});

const open = (name = NAME, options = {}) => openHubRepo(name, { pause: 1, ...options });
const cache = (): string => join(home, 'hub/models--owner--model');
const isDownload = (url: string | undefined): boolean => url?.includes('/large/') ?? false;

async function refusal(made: Promise<unknown>): Promise<string> {
  const error = await made.then(() => null).catch((e) => e);
  expect(error).toBeInstanceOf(DataError);
  return error.message.replaceAll(hub.url, 'SERVER').replaceAll(home, 'HOME');
}

describe('downloads', () => {
  it("lie in the cache as Hugging Face's own clients keep them", async () => {
    await serve();
    const seen: HubProgress[] = [];
    const repo = await open(NAME, { onProgress: (p: HubProgress) => seen.push(p) });
    expect(repo.commit).toBe(hub.commit);
    expect(repo.files).toEqual(['config.json', 'big.bin']);
    const path = (await repo.download('big.bin'))!;
    expect(path).toBe(join(cache(), 'snapshots', hub.commit, 'big.bin'));
    expect((await lstat(path)).isSymbolicLink()).toBe(true);
    expect(Buffer.compare(await readFile(path), big)).toBe(0);
    expect(await readFile((await repo.download('config.json'))!)).toEqual(config);
    expect(await repo.download('nowhere.txt')).toBeNull();
    expect((await readdir(join(cache(), 'blobs'))).sort()).toEqual([sha256(big), gitHash(config)].sort());
    expect(await readFile(join(cache(), 'refs/main'), 'utf8')).toBe(hub.commit);
    expect(seen[0]).toEqual({ file: 'big.bin', bytes: 0, total: big.length });
    expect(seen).toContainEqual({ file: 'big.bin', bytes: big.length, total: big.length });

    // A second time nothing is downloaded.
    hub.log.length = 0;
    expect(await (await open()).download('big.bin')).toBe(path);
    expect(hub.log).toEqual([`GET /api/models/${NAME}/revision/main`]);
  });

  it('go on where the connection broke', async () => {
    await serve();
    let breaks = 3;
    hub.fault = (request, response, file) => {
      if (!isDownload(request.url) || request.headers.range === 'bytes=0-0' || breaks-- <= 0) return false;
      send(request, response, file!, { most: 70_000 });
      return true;
    };
    const path = (await (await open()).download('big.bin'))!;
    expect(Buffer.compare(await readFile(path), big)).toBe(0);
    const ranges = hub.log.filter((line) => isDownload(line) && !line.endsWith('bytes=0-0'));
    expect(ranges).toHaveLength(4);
    expect(ranges[0]).toBe(`GET /large/${hub.commit}/big.bin`);
    for (const line of ranges.slice(1)) expect(line).toMatch(/bytes=[1-9]\d*-299999$/);
  });

  it('go on in another run', async () => {
    await serve();
    hub.fault = (request, response, file) => {
      if (!isDownload(request.url) || request.headers.range === 'bytes=0-0') return false;
      if (request.headers.range) response.destroy();
      else send(request, response, file!, { most: 100_000 });
      return true;
    };
    const text = await refusal((await open(NAME, { attempts: 2 })).download('big.bin'));
    expect(text).toMatch(
      /^openHubRepo: big\.bin of owner\/model: expected 300000 bytes, got \d+: .*; run again to go on from there$/,
    );
    const partial = join(cache(), 'blobs', `${sha256(big)}.incomplete`);
    const { size } = await stat(partial);
    expect(size).toBeGreaterThan(0);

    hub.fault = null;
    hub.log.length = 0;
    const seen: HubProgress[] = [];
    const repo = await open(NAME, { onProgress: (p: HubProgress) => seen.push(p) });
    expect(Buffer.compare(await readFile((await repo.download('big.bin'))!), big)).toBe(0);
    expect(hub.log).toContain(`GET /large/${hub.commit}/big.bin bytes=${size}-299999`);
    expect(seen[0].bytes).toBe(size);
    expect(await readdir(join(cache(), 'blobs'))).toEqual([sha256(big)]);
  });

  it('begin anew where a server does not continue files', async () => {
    await serve();
    let broken = false;
    hub.fault = (request, response, file) => {
      if (!isDownload(request.url) || request.headers.range === 'bytes=0-0') return false;
      send(request, response, file!, { ranges: false, most: broken ? undefined : 100_000 });
      broken = true;
      return true;
    };
    const path = (await (await open()).download('big.bin'))!;
    expect(Buffer.compare(await readFile(path), big)).toBe(0);
  });

  it('are thrown away where the checksum is wrong', async () => {
    await serve();
    const wrong = Buffer.from(big);
    wrong[123_456] ^= 1;
    hub.fault = (request, response) => {
      if (!isDownload(request.url)) return false;
      send(request, response, { data: wrong });
      return true;
    };
    const repo = await open();
    expect(await refusal(repo.download('big.bin'))).toBe(
      `openHubRepo: big.bin of owner/model: expected the checksum ${sha256(big)}, got ${sha256(wrong)}; ` +
        'what was downloaded is thrown away, run again',
    );
    expect(await readdir(join(cache(), 'blobs'))).toEqual([]);
    hub.fault = (request, response) => {
      if (!request.url!.includes('/resolve/')) return false;
      send(request, response, { data: Buffer.from('{"a": 2}\n') });
      return true;
    };
    expect(await refusal(repo.download('config.json'))).toContain(`expected the checksum ${gitHash(config)}`);
  });

  it('of the same file at the same time are one', async () => {
    await serve();
    const [a, b] = [await open(), await open()];
    const [one, other] = await Promise.all([a.download('big.bin'), b.download('big.bin')]);
    expect(one).toBe(other);
    expect(Buffer.compare(await readFile(one!), big)).toBe(0);
    expect(hub.log.filter((line) => line === `GET /large/${hub.commit}/big.bin`)).toHaveLength(1);
  });

  it('do not trust what an earlier run has left', async () => {
    await serve();
    const repo = await open();
    const partial = join(cache(), 'blobs', `${sha256(big)}.incomplete`);
    await repo.download('config.json');
    await writeFile(partial, Buffer.alloc(1000, 7));
    expect(await refusal(repo.download('big.bin'))).toContain('expected the checksum');
    expect(Buffer.compare(await readFile((await repo.download('big.bin'))!), big)).toBe(0);
  });
});

describe('refusals', () => {
  it('name a repository that is not there', async () => {
    await serve();
    expect(await refusal(open('owner/other'))).toBe(
      'openHubRepo: owner/other: there is none at SERVER; check the name',
    );
    expect(await refusal(open(NAME, { revision: 'v2' }))).toBe(
      'openHubRepo: revision v2 of owner/model: there is none at SERVER; check the name',
    );
  });

  it('say that a token is needed, and take one', async () => {
    await serve('hf_secret');
    expect(await refusal(open())).toBe(
      'openHubRepo: owner/model: SERVER gives it to nobody without a token (401), if it is there at all; ' +
        'set HF_TOKEN, or check the name',
    );
    vi.stubEnv('HF_TOKEN', 'hf_other');
    expect(await refusal(open())).toBe(
      'openHubRepo: owner/model: SERVER refuses it (401) to the token in HF_TOKEN; ' +
        "accept the model's conditions there, check the name, or use another token",
    );
    vi.stubEnv('HF_TOKEN', 'secret');
    expect(await refusal(open())).toBe('openHubRepo: expected HF_TOKEN to begin with hf_, got another text');
    vi.stubEnv('HF_TOKEN', 'hf_secret');
    expect(Buffer.compare(await readFile((await (await open()).download('big.bin'))!), big)).toBe(0);
  });

  it('say what the server answered', async () => {
    await serve();
    hub.fault = (_, response) => {
      response.writeHead(503).end('busy');
      return true;
    };
    expect(await refusal(open())).toContain('openHubRepo: owner/model: SERVER answered 503');
  });
});

it('uses the cache alone where it is told to, or where nobody answers', async () => {
  await serve();
  await (await open()).download('config.json');
  vi.stubEnv('HF_HUB_OFFLINE', '1');
  hub.log.length = 0;
  const repo = await open();
  expect(repo.files).toEqual(['config.json']);
  expect(await readFile((await repo.download('config.json'))!)).toEqual(config);
  expect(await repo.download('big.bin')).toBeNull();
  expect(await refusal(open('owner/other'))).toBe(
    'openHubRepo: owner/other is not in the cache HOME/hub/models--owner--other, and HF_HUB_OFFLINE allows no download',
  );
  expect(hub.log).toEqual([]);

  vi.stubEnv('HF_HUB_OFFLINE', '0');
  await hub.close();
  expect((await open()).commit).toBe(hub.commit);
  expect(await refusal(open('owner/other'))).toMatch(
    /^openHubRepo: owner\/other: cannot reach SERVER: fetch failed/,
  );
});

it('gives GPT-2 by its name on the Hub', async () => {
  const golden = fileURLToPath(new URL('../golden/gpt2/two-layers', import.meta.url));
  await serve();
  for (const file of ['config.json', 'model.safetensors']) {
    hub.files[file] = { data: await readFile(join(golden, file)), lfs: file.endsWith('s') };
  }
  const kinds = new Set<string>();
  const device = cpuDevice();
  const model = await GPT2.fromPretrained(NAME, { device, onProgress: ({ kind }) => kinds.add(kind) });
  const same = await GPT2.fromPretrained(golden, { device });
  expect(await model.transformer.wte.weight.data()).toEqual(await same.transformer.wte.weight.data());
  expect([...kinds]).toEqual(['download', 'load']);
  expect(await refusal(GPT2.fromPretrained('runs/mistyped', { device }))).toBe(
    'openHubRepo: runs/mistyped: there is none at SERVER; check the name; a folder runs/mistyped is not here either',
  );
});
