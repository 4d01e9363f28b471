/** Spaces of settings, and draws from them: a trial's values depend on the seed and the trial's number, and on nothing else. */
import { z } from 'zod';
import { HostRandom } from '../data/random.js';
import { hashText } from '../data/text-hash.js';
import { DataError } from '../device/errors.js';
import { nearestName } from './nearest-name.js';
import { expectation, show } from './zod-words.js';

/** A value as JSON holds it. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [name: string]: Json };

/** A setting exists only where each named setting, which stands above it, has that value, or one of those. */
export type Condition = { readonly [name: string]: Json | readonly Json[] };

/** Numbers from `min` to `max`, both included. The logarithmic ones are as often from 1 to 10 as from 10 to 100. */
export interface NumberDistribution {
  readonly type: 'uniform' | 'logUniform' | 'integer' | 'logInteger';
  readonly min: number;
  readonly max: number;
  /** Only min, min + step, min + 2 step … up to max. */
  readonly step?: number;
  readonly when?: Condition;
}

/** One of some values, each as likely. */
export interface ChoiceDistribution<T extends Json = Json> {
  readonly type: 'choice';
  readonly values: readonly T[];
  readonly when?: Condition;
}

/** Always the same; useful with `when`. */
export interface FixedValue<T extends Json = Json> {
  readonly type: 'fixed';
  readonly value: T;
  readonly when?: Condition;
}

export type Distribution = NumberDistribution | ChoiceDistribution | FixedValue;

/** Distributions by the names of settings, in the order in which conditions may refer to them. */
export type SearchSpace = Readonly<Record<string, Distribution>>;

type ValueOf<D> = D extends { type: 'choice'; values: readonly (infer V)[] }
  ? V
  : D extends { type: 'fixed'; value: infer V }
    ? V
    : number;

/** The values of one trial. */
export type ParamsOf<S extends SearchSpace> = {
  readonly [K in keyof S]: S[K] extends { when: Condition } ? ValueOf<S[K]> | undefined : ValueOf<S[K]>;
};

const TYPES = ['uniform', 'logUniform', 'integer', 'logInteger', 'choice', 'fixed'] as const;
const json = z.json();
const condition = z.record(z.string(), json).optional();
const real = z.number();
const integral = z.number().int();
const numbers = (type: NumberDistribution['type'], bound: z.ZodNumber, step: z.ZodNumber) =>
  z.strictObject({
    type: z.literal(type),
    min: bound,
    max: bound,
    step: step.positive().optional(),
    when: condition,
  });

const SCHEMAS: Readonly<Record<(typeof TYPES)[number], z.ZodType>> = {
  uniform: numbers('uniform', real, real),
  logUniform: numbers('logUniform', real.positive(), real),
  integer: numbers('integer', integral, integral),
  logInteger: numbers('logInteger', integral.min(1), integral),
  choice: z.strictObject({ type: z.literal('choice'), values: z.array(json).min(1), when: condition }),
  fixed: z.strictObject({ type: z.literal('fixed'), value: json, when: condition }),
};

/**
 * Checks a search space. A plain string, number, boolean or null stands for a fixed value.
 *
 * @param value as read from JSON
 * @param from where it stands, for messages
 * @throws DataError with the path of what is wrong: `space.lr.min`
 */
export function parseSpace(value: unknown, from: string): SearchSpace {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw complaint('space', 'an object of distributions by name', value, from);
  const space: Record<string, Distribution> = {};
  for (const [name, given] of Object.entries(value)) {
    space[name] = parseDistribution(`space.${name}`, given, from);
    checkCondition(name, space, from);
  }
  if (Object.keys(space).length === 0) throw complaint('space', 'at least one setting', value, from);
  return space;
}

function parseDistribution(path: string, given: unknown, from: string): Distribution {
  if (given === null || ['string', 'number', 'boolean'].includes(typeof given)) {
    return { type: 'fixed', value: given as Json };
  }
  if (typeof given !== 'object' || Array.isArray(given))
    throw complaint(path, 'a distribution such as { "type": "choice", "values": […] }', given, from);
  const { type } = given as { type?: unknown };
  if (!(TYPES as readonly unknown[]).includes(type)) {
    const near = typeof type === 'string' ? nearestName(type, TYPES) : null;
    const hint = near ? `; did you mean '${near}'?` : '';
    throw complaint(`${path}.type`, `one of ${TYPES.join(', ')}`, type, from, hint);
  }
  const parsed = SCHEMAS[type as (typeof TYPES)[number]].safeParse(given, { reportInput: true });
  if (!parsed.success) throw zodComplaint(path, parsed.error, from);
  const d = parsed.data as Distribution;
  if (d.type === 'choice') {
    const texts = d.values.map((v) => JSON.stringify(v));
    const twice = texts.find((text, i) => texts.indexOf(text) < i);
    if (twice !== undefined)
      throw new DataError(`tune: expected ${path}.values to differ, got ${twice} twice in ${from}`);
  } else if (d.type !== 'fixed') {
    if (!(d.min < d.max)) throw complaint(`${path}.max`, `above min, ${d.min}`, d.max, from);
    if (d.step !== undefined && d.step > d.max - d.min)
      throw complaint(`${path}.step`, `at most max − min, ${tidy(d.max - d.min)}`, d.step, from);
  }
  return d;
}

/** A condition names settings above its own, and values that these can have. */
function checkCondition(name: string, space: SearchSpace, from: string): void {
  for (const [other, wanted] of Object.entries(space[name].when ?? {})) {
    const path = `space.${name}.when.${other}`;
    const above = Object.keys(space).filter((key) => key !== name);
    if (!above.includes(other)) {
      const near = nearestName(other, above);
      const hint = near ? `; did you mean '${near}'?` : '';
      throw new DataError(
        `tune: expected ${path} to name a setting above ${name} (${above.join(', ') || 'there is none'}) in ${from}${hint}`,
      );
    }
    const d = space[other];
    const possible = d.type === 'choice' ? d.values : d.type === 'fixed' ? [d.value] : null;
    if (possible && !possible.some((value) => isWanted(value, wanted)))
      throw complaint(path, `a value of ${other} (${possible.map(show).join(', ')})`, wanted, from);
  }
}

/**
 * The values of one trial. Each setting has a stream of its own, so that a setting that is added changes no other.
 *
 * @param trial from 0
 * @returns the settings whose conditions hold, in the order of the space
 */
export function sampleSpace<S extends SearchSpace>(space: S, seed: number, trial: number): ParamsOf<S> {
  const values: Record<string, Json> = {};
  for (const [name, distribution] of Object.entries(space)) {
    const holds = Object.entries(distribution.when ?? {}).every(
      ([other, wanted]) => other in values && isWanted(values[other], wanted),
    );
    const random = new HostRandom(hashText(`${trial}/${name}`, hashText(String(seed))));
    if (holds) values[name] = draw(distribution, random);
  }
  return values as ParamsOf<S>;
}

function isWanted(value: Json, wanted: Json | readonly Json[]): boolean {
  const text = JSON.stringify(value);
  return (
    JSON.stringify(wanted) === text ||
    (Array.isArray(wanted) && wanted.some((w) => JSON.stringify(w) === text))
  );
}

function draw(d: Distribution, random: HostRandom): Json {
  if (d.type === 'fixed') return d.value;
  if (d.type === 'choice') return d.values[random.integer(d.values.length)];
  const { type, min, max } = d;
  const u = random.uniform();
  const step = d.step ?? (type === 'integer' || type === 'logInteger' ? 1 : null);
  if (step === null) {
    const x = type === 'uniform' ? min + (max - min) * u : min * (max / min) ** u;
    // Nobody needs more digits, and people read and copy these.
    return Math.min(max, Math.max(min, Number(x.toPrecision(6))));
  }
  // Floors of what is uniform up to the step above max: each value of a linear grid is as likely.
  const count = Math.floor((max - min) / step + 1e-9) + 1;
  const top = min + count * step;
  const x = type === 'uniform' || type === 'integer' ? min + (top - min) * u : min * (top / min) ** u;
  return tidy(min + step * Math.min(count - 1, Math.floor((x - min) / step)));
}

/** 0.1 + 2 · 0.1 is 0.3. */
const tidy = (x: number): number => Number(x.toPrecision(15));

/** Whether a setting is spread over orders of magnitude. */
export function isLogarithmic({ type }: Distribution): boolean {
  return type === 'logUniform' || type === 'logInteger';
}

function complaint(path: string, expected: string, got: unknown, from: string, hint = ''): DataError {
  return new DataError(`tune: expected ${path} to be ${expected}, got ${show(got)} in ${from}${hint}`);
}

/** The first complaint of zod in our words, with its path below `path`. */
export function zodComplaint(path: string, error: z.ZodError, from: string): DataError {
  const [issue] = error.issues;
  const at = [path, ...issue.path.map(String)].filter((part) => part !== '').join('.');
  if (issue.code === 'unrecognized_keys')
    return new DataError(
      `tune: expected no ${issue.keys.map((k) => `${at ? `${at}.` : ''}${k}`).join(', ')} in ${from}`,
    );
  return complaint(at, expectation(issue), issue.input, from);
}
