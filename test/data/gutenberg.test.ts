/** Downloading a book, from a server on this machine. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { gutenbergText } from '../../src/data/gutenberg.js';

const BOOK = [
  '\uFEFFThe Project Gutenberg eBook of A Title',
  '*** START OF THE PROJECT GUTENBERG EBOOK A TITLE ***',
  '',
  'Letter 1',
  'It was a dark — and stormy night.',
  '',
  '*** END OF THE PROJECT GUTENBERG EBOOK A TITLE ***',
  'License',
].join('\r\n');

let folder: string;
let server: Server;
let base: string;
let asked: string[] = [];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'dawngrad-gutenberg-'));
  server = createServer((request, response) => {
    asked.push(request.url!);
    if (request.url === '/cache/epub/84/pg84.txt') response.end(BOOK);
    else if (request.url === '/cache/epub/2/pg2.txt') response.end('<html>not a book</html>');
    else if (request.url !== '/cache/epub/3/pg3.txt') response.writeHead(404, 'Not Found').end();
    // Book 3 never comes.
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(async () => {
  server.closeAllConnections();
  server.close();
  await rm(folder, { recursive: true });
});

it('gives the book without header and license, and asks once', async () => {
  const cache = join(folder, 'texts');
  const text = 'Letter 1\nIt was a dark — and stormy night.\n';
  asked = [];
  expect(await gutenbergText(84, { base, cache })).toBe(text);
  expect(await gutenbergText(84, { base: 'http://127.0.0.1:1', cache })).toBe(text);
  expect(asked).toEqual(['/cache/epub/84/pg84.txt']);
  expect(await readFile(join(cache, 'gutenberg-84.txt'), 'utf8')).toBe(text);
});

it('says what came instead', async () => {
  const url = (id: number) => `${base}/cache/epub/${id}/pg${id}.txt`;
  await expect(gutenbergText(1, { base })).rejects.toThrow(
    `gutenbergText: cannot download ${url(1)}: 404 Not Found; put the text into a file and name that`,
  );
  await expect(gutenbergText(2, { base })).rejects.toThrow(
    `gutenbergText: expected a book between "*** START OF …" and "*** END OF …" at ${url(2)}, got other text`,
  );
  await expect(gutenbergText(3, { base, timeout: 100 })).rejects.toThrow(`cannot download ${url(3)}`);
  await expect(gutenbergText(84, { base: 'http://127.0.0.1:1' })).rejects.toThrow(
    /cannot download .*:1\/cache/,
  );
  await expect(gutenbergText(0)).rejects.toThrow('gutenbergText: expected the number of a book, got 0');
});
