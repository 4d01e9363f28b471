/** Finding layers by name, and putting others in their place. */
import { DataError } from '../device/errors.js';
import type { Module } from './module.js';

/**
 * Which layers: names, each the whole name or its end after a dot ('c_attn' is every `….c_attn`); a regular expression
 * that matches whole names; or 'all-linear'.
 */
export type Targets = 'all-linear' | readonly string[] | RegExp;

/** Whether a pattern means the layer of this name. */
function means(pattern: string | RegExp, name: string): boolean {
  if (typeof pattern === 'string') return name === pattern || name.endsWith(`.${pattern}`);
  return new RegExp(`^(?:${pattern.source})$`, pattern.flags.replace(/[gy]/g, '')).test(name);
}

/** How a pattern is shown in messages. */
const shown = (pattern: string | RegExp): string =>
  typeof pattern === 'string' ? `'${pattern}'` : `${pattern}`;

/**
 * The layers of a model that targets mean, by name.
 *
 * @param op for messages
 * @param fits which modules can be targets
 * @throws DataError for a target that means no such layer, with the layers that there are
 */
export function findTargets<M extends Module>(
  op: string,
  model: Module,
  targets: Targets,
  fits: (module: Module) => module is M,
): Map<string, M> {
  const all = model.namedModules().filter(([name]) => name !== '');
  const fitting = all.filter((entry): entry is [string, M] => fits(entry[1]));
  if (targets === 'all-linear') {
    if (fitting.length > 0) return new Map(fitting);
    throw new DataError(
      `${op}: expected a model with linear layers inside, got ${model.constructor.name} without`,
    );
  }
  const found = new Map<string, M>();
  const patterns = targets instanceof RegExp ? [targets] : targets;
  if (patterns.length === 0) throw new DataError(`${op}: expected at least one target, got none`);
  for (const pattern of patterns) {
    const matches = fitting.filter(([name]) => means(pattern, name));
    if (matches.length === 0) {
      const other = all.find(([name, m]) => !fits(m) && means(pattern, name));
      const instead = other ? `'${other[0]}' (${other[1].constructor.name})` : 'nothing';
      throw new DataError(
        `${op}: expected ${shown(pattern)} to name layers of the model, got ${instead}; there are ${ends(fitting.map(([name]) => name))}`,
      );
    }
    for (const [name, m] of matches) found.set(name, m);
  }
  // In the model's order, whatever that of the patterns is.
  return new Map(fitting.filter(([name]) => found.has(name)));
}

/** The different ends of names: 'c_attn (12), c_proj (24)'. */
function ends(names: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const name of names) {
    const end = name.slice(name.lastIndexOf('.') + 1);
    counts.set(end, (counts.get(end) ?? 0) + 1);
  }
  return counts.size === 0
    ? 'none'
    : [...counts].map(([end, n]) => (n > 1 ? `${end} (${n})` : end)).join(', ');
}

/** Containers keep a list beside their properties. */
interface Container extends Module {
  replaceChild?(name: string, module: Module): void;
}

/** Puts another module in the place of the one of this name. */
export function replaceModule(root: Module, name: string, module: Module): void {
  const path = name.split('.');
  const own = path.pop()!;
  const parent = path.reduce<Container>((m, child) => Reflect.get(m, child) as Container, root);
  if (parent.replaceChild) parent.replaceChild(own, module);
  else Object.assign(parent, { [own]: module });
}
