/** Buffers larger than one binding may be: bound in pieces (see ../pieces.ts), which the shader's text reads and writes as one array. */
import { DeviceError } from '../errors.js';
import type { Kernel } from '../types.js';

type Binding = Kernel['bindings'][number];

/** The name of a piece of a binding. */
export function pieceName(name: string, piece: number): string {
  return `${name}_piece${piece}`;
}

function elementBytes(type: string): number {
  const lanes = /^vec(\d)/.exec(type)?.[1] ?? 1;
  return Number(lanes) * (type.includes('16') ? 2 : 4);
}

/**
 * Functions that read and write element i of a binding in pieces.
 *
 * @throws DeviceError for atomics, which have no copies to pass around
 */
export function pieceFunctions({ name, type, access }: Binding, pieces: number, bytes: number): string {
  if (type.startsWith('atomic')) {
    throw new DeviceError(`expected ${name} to fit one binding, since atomics cannot be bound in pieces`);
  }
  const shift = Math.log2(bytes / elementBytes(type));
  const place = `i & ${2 ** shift - 1}u`;
  const choose = (statement: (piece: string) => string): string =>
    `switch (i >> ${shift}u) {
${Array.from({ length: pieces - 1 }, (_, k) => `case ${k}u: { ${statement(pieceName(name, k))} }`).join('\n')}
default: { ${statement(pieceName(name, pieces - 1))} }
}`;
  const read = `fn ${name}_get(i: u32) -> ${type} {\n${choose((piece) => `return ${piece}[${place}];`)}\n}`;
  if (access === 'read') return read;
  const set = `fn ${name}_set(i: u32, value: ${type}) {\n${choose((piece) => `${piece}[${place}] = value;`)}\n}`;
  const scalar = /<(\w+)>/.exec(type)?.[1];
  if (!scalar) return `${read}\n${set}`;
  return `${read}\n${set}
fn ${name}_set_component(i: u32, component: u32, value: ${scalar}) {
${choose((piece) => `${piece}[${place}][component] = value;`)}
}`;
}

/**
 * WGSL in which elements of some bindings are read and written by `pieceFunctions`.
 *
 * @param code statements or declarations that index the bindings as arrays
 * @throws DeviceError where a binding is used in a way that pieces do not know
 */
export function inPieces(code: string, names: readonly string[]): string {
  const use = new RegExp(`(?<![.\\w])(${names.join('|')})\\b`, 'g');
  let out = '';
  let done = 0;
  for (let match = use.exec(code); match; match = use.exec(code)) {
    const name = match[1];
    const open = use.lastIndex;
    if (code[open] !== '[') continue; // a local or a parameter of the same name: arrays have no other use
    if (code[match.index - 1] === '&') {
      throw new DeviceError(`expected ${name} to be used by element only, got: ${lineAt(code, match.index)}`);
    }
    const close = matching(code, open);
    const i = `u32(${inPieces(code.slice(open + 1, close), names)})`;
    out += code.slice(done, match.index);
    done = close + 1;
    const component = code[done] === '[' ? matching(code, done) : -1;
    const assigned = /^\s*(\+|-|\*|\/|%|&|\||\^|<<|>>)?=(?!=)/.exec(code.slice(done));
    if (component > 0 && /^\s*=(?!=)/.test(code.slice(component + 1))) {
      const begin = code.indexOf('=', component) + 1;
      const end = endOfExpression(code, begin);
      const [c, value] = [code.slice(done + 1, component), code.slice(begin, end).trim()];
      out += `${name}_set_component(${i}, u32(${inPieces(c, names)}), ${inPieces(value, names)})`;
      done = end;
    } else if (assigned) {
      const begin = done + assigned[0].length;
      const end = endOfExpression(code, begin);
      const value = inPieces(code.slice(begin, end).trim(), names);
      const operator = assigned[1];
      out += `${name}_set(${i}, ${operator ? `${name}_get(${i}) ${operator} (${value})` : value})`;
      done = end;
    } else if (/^\s*(\.\w+|\[[^\]]*\])\s*[-+*/]?=(?!=)/.test(code.slice(done))) {
      throw new DeviceError(
        `expected elements of ${name} to be written whole, got: ${lineAt(code, match.index)}`,
      );
    } else {
      out += `${name}_get(${i})`;
    }
    use.lastIndex = done;
  }
  return out + code.slice(done);
}

/** The place of the bracket that closes the one at `open`. */
function matching(code: string, open: number): number {
  let depth = 0;
  for (let i = open; i < code.length; i++) {
    if (code[i] === '[') depth++;
    else if (code[i] === ']' && --depth === 0) return i;
  }
  throw new DeviceError(`expected a closing bracket after: ${lineAt(code, open)}`);
}

/** Where an expression ends: before `;`, or before a bracket that it does not open. */
function endOfExpression(code: string, begin: number): number {
  let depth = 0;
  for (let i = begin; i < code.length; i++) {
    const c = code[i];
    if ('([{'.includes(c)) depth++;
    else if (')]}'.includes(c) && --depth < 0) return i;
    else if (c === ';' && depth === 0) return i;
  }
  return code.length;
}

function lineAt(code: string, place: number): string {
  const end = code.indexOf('\n', place);
  return code.slice(code.lastIndexOf('\n', place) + 1, end < 0 ? undefined : end).trim();
}
