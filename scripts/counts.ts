/** Prints how much the op table checks; with --write, also puts it into the README. */
import { readFileSync, writeFileSync } from 'node:fs';
import { counts, withCounts } from '../test/support/counts.js';

const readme = new URL('../README.md', import.meta.url);

for (const [what, n] of counts()) console.log(`${n.toLocaleString('en').padStart(7)}  ${what}`);
if (process.argv.includes('--write')) writeFileSync(readme, withCounts(readFileSync(readme, 'utf8')));
