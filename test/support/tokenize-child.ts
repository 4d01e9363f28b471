/**
 * Tokenises the documents of the test of token caches in a process of its own: argv is the folder of the cache. It says
 * when it has found no cache and is about to make one, and goes on when it is told to, so that two of them are both there.
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { tokenizeDocuments } from '../../src/data/token-cache.js';
import { GPT2Tokenizer } from '../../src/data/tokenizer.js';
import { raceDocuments } from './race-documents.js';

let readings = 0;
const documents = {
  async *[Symbol.asyncIterator]() {
    if (readings++ > 0) {
      console.log('no cache');
      await once(process.stdin, 'data');
    }
    yield* raceDocuments();
  },
};
using cache = await tokenizeDocuments(documents, new GPT2Tokenizer({ size: 300 }), {
  cacheDir: process.argv[2],
});
const hash = createHash('sha256');
for (let i = 0; i < cache.length; i++) hash.update(cache.tokens(i));
console.log(JSON.stringify({ cached: cache.cached, length: cache.length, digest: hash.digest('hex') }));
process.exit(0);
