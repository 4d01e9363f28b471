/** Node only. Files of models on the Hugging Face Hub, by way of its own client, in the cache that its other clients share. */
import { createHash, type Hash } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, readFile, rename, rm, stat, symlink } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import type { HubApiError, PathInfo } from '@huggingface/hub';
import { DataError } from '../device/errors.js';
import { writeFileAtomic } from './atomic-file.js';

export interface HubProgress {
  readonly file: string;
  /** Bytes there are, and in all. */
  readonly bytes: number;
  readonly total: number;
}

export interface HubOptions {
  /** Branch, tag or commit; default `main`. */
  readonly revision?: string;
  readonly onProgress?: (progress: HubProgress) => void;
  /** How often in a row a connection may fail before the first new byte; default 4. */
  readonly attempts?: number;
  /** Milliseconds before the second attempt, twice as many before each further one; default 500. */
  readonly pause?: number;
}

/** A model's repository at one commit. */
export interface HubRepo {
  readonly name: string;
  readonly commit: string;
  /** The names of its files; without a connection, of those in the cache. */
  readonly files: readonly string[];
  /** Where a file lies, downloaded first if it is not in the cache; null where the repository has none of this name. */
  download(file: string): Promise<string | null>;
}

const COMMIT = /^[0-9a-f]{40}$/;
/** Downloads of this process by their place. Those of others write beside it, and the checksum finds it out. */
const underway = new Map<string, Promise<void>>();

/**
 * Opens a model's repository on the Hub. Environment: `HF_ENDPOINT` (default https://huggingface.co), `HF_TOKEN` for
 * private and gated models, `HF_HOME` and `HF_HUB_CACHE` for where files are kept, `HF_HUB_OFFLINE=1` for the cache alone,
 * which is also used where the Hub cannot be reached.
 *
 * @param name like `openai-community/gpt2`
 * @throws DataError saying which repository or file is not there, or that a token is needed
 * @source huggingface_hub.snapshot_download, for the environment and the cache's layout
 */
export async function openHubRepo(name: string, options: HubOptions = {}): Promise<HubRepo> {
  const hub = await import('@huggingface/hub');
  const { revision = 'main' } = options;
  const folder = join(hub.getHFHubCachePath(), hub.getRepoFolderName({ type: 'model', name }));
  if (isOffline()) {
    return (
      (await cached(name, folder, revision)) ??
      fail(`${name} is not in the cache ${folder}, and HF_HUB_OFFLINE allows no download`)
    );
  }
  const server = { hubUrl: endpoint(), accessToken: process.env.HF_TOKEN || undefined };
  let commit: string;
  let files: string[];
  try {
    const info = await hub.modelInfo({ name, revision, additionalFields: ['sha', 'filePaths'], ...server });
    commit = info.sha;
    files = info.filePaths;
  } catch (error) {
    const known = isUnreachable(error) ? await cached(name, folder, revision) : null;
    if (known) return known;
    throw explained(error, name, revision === 'main' ? '' : `revision ${revision} of `);
  }
  if (!COMMIT.test(commit) || !Array.isArray(files))
    fail(`${name}: expected a commit and its files from ${server.hubUrl}, got something else`);
  if (revision !== commit) {
    await mkdir(dirname(join(folder, 'refs', revision)), { recursive: true });
    await writeFileAtomic(join(folder, 'refs', revision), [commit]);
  }

  const download = async (file: string): Promise<string | null> => {
    if (!files.includes(file)) return null;
    const pointer = join(folder, 'snapshots', commit, file);
    if (existsSync(pointer)) return pointer;
    const where = `${file} of ${name}`;
    const at = { repo: name, revision: commit, ...server };
    try {
      const [info] = await hub.pathsInfo({ ...at, paths: [file] });
      if (!info) fail(`${where}: the Hub lists it and does not have it`);
      const blob = join(folder, 'blobs', checkedId(info, where));
      if (!existsSync(blob)) {
        await mkdir(dirname(blob), { recursive: true });
        const from = (start: number): Promise<AsyncIterable<Uint8Array>> =>
          hub.downloadFile({ ...at, path: file, xet: false }).then((whole) => {
            if (!whole) fail(`${where}: the Hub does not have it`);
            return whole.slice(start).stream() as unknown as AsyncIterable<Uint8Array>;
          });
        // Who asks for a file that is on its way waits for it.
        const fetching = underway.get(blob) ?? fetchBlob(info, where, blob, from, options);
        underway.set(blob, fetching);
        await fetching.finally(() => underway.delete(blob));
      }
      await mkdir(dirname(pointer), { recursive: true });
      await link(blob, pointer);
      return pointer;
    } catch (error) {
      throw explained(error, name, `${file} of `);
    }
  };
  return { name, commit, files, download };
}

function endpoint(): string {
  return (process.env.HF_ENDPOINT || 'https://huggingface.co').replace(/\/+$/, '');
}

function isOffline(): boolean {
  return /^(1|true|yes|on)$/i.test(process.env.HF_HUB_OFFLINE ?? '');
}

/** What the cache has of a repository, null where that is nothing. */
async function cached(name: string, folder: string, revision: string): Promise<HubRepo | null> {
  const reference = join(folder, 'refs', revision);
  const commit = existsSync(reference) ? (await readFile(reference, 'utf8')).trim() : revision;
  const snapshot = join(folder, 'snapshots', commit);
  if (!COMMIT.test(commit) || !existsSync(snapshot)) return null;
  const files = (await readdir(snapshot, { recursive: true })).filter((file) =>
    existsSync(join(snapshot, file)),
  );
  return {
    name,
    commit,
    files,
    download: async (file) => (files.includes(file) ? join(snapshot, file) : null),
  };
}

/** What the file is checked against, and its name in the cache: SHA-256 of large files, Git's hash of the others. */
function checkedId(info: PathInfo, where: string): string {
  const id = info.lfs?.oid ?? info.oid;
  if (!id || !/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(id))
    fail(`${where}: expected a SHA-256 or Git hash, got ${id}`);
  return id;
}

/** Downloads a file next to its place, going on where an earlier attempt ended, and moves it there once it is checked. */
async function fetchBlob(
  info: PathInfo,
  where: string,
  blob: string,
  from: (start: number) => Promise<AsyncIterable<Uint8Array>>,
  { onProgress, attempts = 4, pause = 500 }: HubOptions,
): Promise<void> {
  const total = info.lfs?.size ?? info.size;
  const partial = `${blob}.incomplete`;
  let { have, hash } = await resume(partial, info, total);
  const report = (): void => onProgress?.({ file: info.path, bytes: have, total });
  const file = await open(partial, have > 0 ? 'r+' : 'w');
  try {
    report();
    for (let failures = 0; have < total; ) {
      const before = have;
      let cause: unknown;
      try {
        for await (const bytes of await from(have)) {
          // More than the rest: this server does not continue files, and began anew.
          if (have + bytes.length > total) {
            ({ have, hash } = await restart(file, info));
            throw new DataError(`expected ${total} bytes, got more`);
          }
          await file.write(bytes, 0, bytes.length, have);
          hash.update(bytes);
          have += bytes.length;
          report();
        }
      } catch (error) {
        if ((error as HubApiError).statusCode !== undefined) throw error;
        cause = error;
      }
      if (have >= total) break;
      failures = have > before ? 1 : failures + 1;
      if (failures >= attempts) {
        throw new DataError(
          `openHubRepo: ${where}: expected ${total} bytes, got ${have}: ${messageOf(cause)}; run again to go on from there`,
          { cause },
        );
      }
      await wait(pause * 2 ** (failures - 1));
    }
    await file.sync();
  } finally {
    await file.close();
  }
  const digest = hash.digest('hex');
  const expected = checkedId(info, where);
  if (digest !== expected) {
    await rm(partial, { force: true });
    fail(
      `${where}: expected the checksum ${expected}, got ${digest}; what was downloaded is thrown away, run again`,
    );
  }
  await rename(partial, blob);
}

/** The bytes that an earlier attempt has left, and their hash. */
async function resume(partial: string, info: PathInfo, total: number): Promise<{ have: number; hash: Hash }> {
  const have = existsSync(partial) ? (await stat(partial)).size : 0;
  if (have === 0 || have > total) {
    await rm(partial, { force: true });
    return { have: 0, hash: hashOf(info) };
  }
  const hash = hashOf(info);
  for await (const bytes of createReadStream(partial)) hash.update(bytes as Buffer);
  return { have, hash };
}

async function restart(file: FileHandle, info: PathInfo): Promise<{ have: number; hash: Hash }> {
  await file.truncate(0);
  return { have: 0, hash: hashOf(info) };
}

function hashOf(info: PathInfo): Hash {
  if (info.lfs) return createHash('sha256');
  // As Git hashes files.
  return createHash('sha1').update(`blob ${info.size}\0`);
}

/** The file under its name, as the cache's other users make it: a link to the blob, where the system has links. */
async function link(blob: string, pointer: string): Promise<void> {
  try {
    await symlink(relative(dirname(pointer), blob), pointer);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') return;
    if (code !== 'EPERM' && code !== 'ENOTSUP') throw error;
    await rename(blob, pointer);
  }
}

function isUnreachable(error: unknown): boolean {
  // What fetch() throws without an answer; the client's own complaints have no cause.
  return error instanceof TypeError && error.cause !== undefined;
}

/** What a failure means, with its remedy. */
function explained(error: unknown, name: string, what: string): Error {
  if (error instanceof DataError) return error;
  const status = (error as Partial<HubApiError>).statusCode;
  const at = endpoint();
  const say = (message: string): DataError => new DataError(`openHubRepo: ${message}`, { cause: error });
  const token = process.env.HF_TOKEN;
  if (status === 404) return say(`${what}${name}: there is none at ${at}; check the name`);
  if (status === 401 || status === 403) {
    return say(
      token
        ? `${what}${name}: ${at} refuses it (${status}) to the token in HF_TOKEN; accept the model's conditions there, check the name, or use another token`
        : `${what}${name}: ${at} gives it to nobody without a token (${status}), if it is there at all; set HF_TOKEN, or check the name`,
    );
  }
  if (status !== undefined) return say(`${what}${name}: ${at} answered ${status}: ${messageOf(error)}`);
  if (token && !token.startsWith('hf_')) return say(`expected HF_TOKEN to begin with hf_, got another text`);
  return say(`${what}${name}: cannot reach ${at}: ${messageOf(error)}`);
}

function messageOf(error: unknown): string {
  if (error === undefined) return 'the connection ended';
  if (!(error instanceof Error)) return String(error);
  const { cause } = error;
  return cause instanceof Error && cause.message ? `${error.message}: ${cause.message}` : error.message;
}

function fail(message: string): never {
  throw new DataError(`openHubRepo: ${message}`);
}
