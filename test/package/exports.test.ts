/** The public names are complete: every operation of the table is a function of the package, most are methods too. */
import { expect, it } from 'vitest';
import * as dawngrad from '../../src/index.js';
import * as node from '../../src/node.js';
import { opInfo } from '../op-info.js';

it('every operation has its name in the package or among the methods of Tensor', () => {
  const names = opInfo.map((row) => row.name).filter((name) => /^\w+$/.test(name));
  expect(names.length).toBeGreaterThan(80);
  const missing = names.filter((name) => !(name in dawngrad) && !(name in dawngrad.Tensor.prototype));
  expect(missing).toEqual([]);
});

it('the two entries share no name', () => {
  expect(Object.keys(node).filter((name) => name in dawngrad)).toEqual([]);
});
