import { readFileSync } from 'node:fs';
import type { Golden } from '../conformance.js';

/** The golden values that scripts/golden made with PyTorch. */
export function readGolden(): Golden {
  return JSON.parse(readFileSync(new URL('./ops.json', import.meta.url), 'utf8')) as Golden;
}
