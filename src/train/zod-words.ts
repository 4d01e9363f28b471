/** What zod finds wrong, in our words. */
import type { z } from 'zod';

const KINDS: Readonly<Record<string, string>> = {
  int: 'an integer',
  number: 'a number',
  array: 'a list',
  boolean: 'true or false',
};

/** What a value should have been: 'at least 1', 'one of cpu, webgpu'. */
export function expectation(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case 'invalid_value':
      return `one of ${issue.values.join(', ')}`;
    case 'too_small':
      if (issue.origin === 'array' && issue.exact) return `${issue.minimum} values`;
      if (issue.origin === 'array' || issue.origin === 'string') return 'not empty';
      return `${issue.inclusive ? 'at least' : 'above'} ${issue.minimum}`;
    case 'too_big':
      if (issue.origin === 'array' && issue.exact) return `${issue.maximum} values`;
      return `${issue.inclusive ? 'at most' : 'below'} ${issue.maximum}`;
    case 'invalid_type':
      return KINDS[issue.expected] ?? `a ${issue.expected}`;
    default:
      return issue.message;
  }
}

/** A value as messages show it. */
export function show(value: unknown): string {
  return value === undefined ? 'nothing' : JSON.stringify(value);
}
