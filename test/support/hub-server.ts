/** A server with the part of the Hub's interface that downloads use, and faults on demand. */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface HubFile {
  readonly data: Buffer;
  /** Kept as a large file: checked by SHA-256, served from another address. */
  readonly lfs?: boolean;
}

export interface HubServer {
  readonly url: string;
  readonly commit: string;
  /** 'METHOD path range' of every request. */
  readonly log: string[];
  /** Answers a request in the server's stead, where it returns true. */
  fault: ((request: IncomingMessage, response: ServerResponse, file: HubFile | undefined) => boolean) | null;
  files: Record<string, HubFile>;
  close(): Promise<void>;
}

export const gitHash = (data: Buffer): string =>
  createHash('sha1').update(`blob ${data.length}\0`).update(data).digest('hex');
export const sha256 = (data: Buffer): string => createHash('sha256').update(data).digest('hex');

/** Serves one repository, to everybody or to those who have the token. */
export async function startHub(
  name: string,
  files: Record<string, HubFile>,
  token?: string,
): Promise<HubServer> {
  const commit = 'c0ffee'.padEnd(40, '0');
  const server = createServer((request, response) => {
    void answer(request, response);
  });
  const hub: HubServer = {
    url: '',
    commit,
    log: [],
    fault: null,
    files,
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname } = new URL(request.url!, 'http://hub');
    hub.log.push([request.method, pathname, request.headers.range].filter(Boolean).join(' '));
    const [, path] = pathname.match(/\/(?:resolve|large)\/[^/]+\/(.*)$/) ?? [];
    const file = path ? hub.files[path] : undefined;
    if (hub.fault?.(request, response, file)) return;
    const refuse = (status: number, code: string): void => {
      response.writeHead(status, { 'Content-Type': 'application/json', 'X-Error-Code': code });
      response.end(JSON.stringify({ error: code }));
    };
    if (token && !pathname.includes('/large/') && request.headers.authorization !== `Bearer ${token}`) {
      return refuse(401, 'GatedRepo');
    }
    const json = (value: unknown): void => {
      response.writeHead(200, { 'Content-Type': 'application/json' });
      response.end(JSON.stringify(value));
    };
    if (
      pathname === `/api/models/${name}/revision/main` ||
      pathname === `/api/models/${name}/revision/${commit}`
    ) {
      const siblings = Object.keys(hub.files).map((rfilename) => ({ rfilename }));
      return json({ _id: '1', id: name, sha: commit, siblings, lastModified: '2026-01-01T00:00:00Z' });
    }
    if (pathname === `/api/models/${name}/paths-info/${commit}`) {
      const body: Buffer[] = [];
      for await (const part of request) body.push(part as Buffer);
      const { paths } = JSON.parse(Buffer.concat(body).toString()) as { paths: string[] };
      return json(
        paths
          .filter((p) => p in hub.files)
          .map((p) => {
            const { data, lfs } = hub.files[p];
            const size = data.length;
            return {
              type: 'file',
              path: p,
              size,
              oid: gitHash(data),
              ...(lfs && { lfs: { oid: sha256(data), size, pointerSize: 134 } }),
            };
          }),
      );
    }
    if (!file) return refuse(404, pathname.includes('/resolve/') ? 'EntryNotFound' : 'RepoNotFound');
    if (file.lfs && pathname.includes('/resolve/')) {
      response.writeHead(302, {
        Location: `/large/${commit}/${path}`,
        'X-Linked-ETag': `"${sha256(file.data)}"`,
      });
      response.end();
      return;
    }
    send(request, response, file);
  }

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return Object.assign(hub, { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
}

/** A file, or the range of it that is asked for; cut off after `most` bytes. */
export function send(
  request: IncomingMessage,
  response: ServerResponse,
  { data }: HubFile,
  { most = Number.POSITIVE_INFINITY, ranges = true }: { most?: number; ranges?: boolean } = {},
): void {
  const [, from, to] = (ranges && request.headers.range?.match(/^bytes=(\d+)-(\d*)$/)) || [];
  const start = Number(from ?? 0);
  const end = Math.min(to ? Number(to) + 1 : data.length, data.length);
  const headers: Record<string, string | number> = {
    'Content-Length': end - start,
    ETag: `"${gitHash(data)}"`,
  };
  // Whoever only asks for the size gets it, whatever happens to those who want the file.
  if (from !== undefined) headers['Content-Range'] = `bytes ${start}-${end - 1}/${data.length}`;
  response.writeHead(from === undefined ? 200 : 206, headers);
  if (end - start <= most) response.end(data.subarray(start, end));
  else response.write(data.subarray(start, start + most), () => setTimeout(() => response.destroy(), 20));
}
