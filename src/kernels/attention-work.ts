/** How much attention computes, for the profiler. */
import type { Work } from '../device/types.js';

/** Operations of attention: a product per sum over D or E, for every key that a query sees; padding counts as seen. */
export function attentionWork(
  [B, T, H, D]: readonly number[],
  [S, E]: readonly number[],
  { shift, window }: { readonly shift: number; readonly window: number },
  backward: boolean,
): Work {
  let seen = 0;
  for (let i = 0; i < T; i++) {
    seen += Math.max(Math.min(i + shift + 1, S) - Math.max(i + shift - window + 1, 0), 0);
  }
  // Forward q·kᵀ and p·v; backward q·kᵀ again, dq and dk over D, g·vᵀ and dv over E.
  const perPair = backward ? 2 * (3 * D + 2 * E) : 2 * (D + E);
  return { operations: B * H * seen * perPair };
}
