/** What the tools of `dawngrad qa` share: reading files or standard input, and writing without harm to what was read. */
import { realpath, stat } from 'node:fs/promises';
import { buffer } from 'node:stream/consumers';
import { writeFileAtomic } from '../data/atomic-file.js';
import { decodeText, readText } from '../data/qa-file.js';
import { DataError } from '../device/errors.js';

export const OUT = [
  '--out <file>',
  'write to this file, at once or not at all; default: standard output',
] as const;
export const IN_PLACE = ['--in-place', 'write over the input'] as const;
export const FILE = 'a file; without one or for -, standard input';
export const FILES = 'files; without one or for -, standard input';

/** A text and where it came from. */
export interface Input {
  /** The file's name as given, for messages. */
  readonly source: string;
  /** Null for standard input. */
  readonly path: string | null;
  readonly text: string;
}

export interface OutputFlags {
  out?: string;
  inPlace?: boolean;
}

/** The given files, `-` being standard input, which also stands for none. */
export async function readInputs(files: readonly string[]): Promise<Input[]> {
  const names = files.length === 0 ? ['-'] : files;
  if (names.filter((name) => name === '-').length > 1)
    throw new DataError('qa: expected standard input once, got - several times');
  if (files.length === 0 && process.stdin.isTTY)
    throw new DataError('qa: expected files, or text on standard input; --help shows what is possible');
  const inputs: Input[] = [];
  for (const name of names) {
    if (name === '-') {
      const source = 'standard input';
      inputs.push({ source, path: null, text: decodeText(await buffer(process.stdin), source) });
    } else inputs.push({ source: name, path: name, text: await readText(name) });
  }
  return inputs;
}

/** The one input of a tool that makes one text of one text. */
export async function readInput(file: string | undefined, { inPlace, out }: OutputFlags): Promise<Input> {
  if (inPlace && (file === undefined || file === '-'))
    throw new DataError('qa: expected a file to change with --in-place, got standard input');
  if (inPlace && out !== undefined)
    throw new DataError('qa: expected either --in-place or --out, got both; leave one out');
  return (await readInputs(file === undefined ? [] : [file]))[0];
}

/**
 * Writes a result to --out, over its input with --in-place, or to standard output; files are replaced at once or not at all.
 * @throws DataError when --out is one of the inputs, by whatever name
 */
export async function writeOutput(
  result: string,
  { out, inPlace }: OutputFlags,
  inputs: readonly Input[],
): Promise<void> {
  if (inPlace) {
    // By way of a link the file itself changes, and the link stays.
    await write(await realpath(inputs[0].path!), result);
  } else if (out === undefined || out === '-') {
    await print(result);
  } else {
    await refuseInput(out, inputs);
    await write(out, result);
  }
}

/** Writes to standard output; whoever reads it may stop early. */
function print(text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const finish = (e?: NodeJS.ErrnoException | null): void => {
      if (!e) process.stdout.off('error', finish);
      if (e && e.code !== 'EPIPE') reject(e);
      else resolve();
    };
    process.stdout.once('error', finish);
    process.stdout.write(text, finish);
  });
}

/** @throws DataError when a path to write is one of the inputs, by whatever name */
export async function refuseInput(out: string, inputs: readonly Input[]): Promise<void> {
  const target = await identity(out);
  for (const { path } of inputs) {
    if (path === null || target === null || (await identity(path)) !== target) continue;
    throw new DataError(
      `qa: expected another file than the input ${path} for --out, got ${out}; name another one, or use --in-place where a tool has it`,
    );
  }
}

/** Which file a path leads to; null for none. */
async function identity(path: string): Promise<string | null> {
  try {
    const { dev, ino } = await stat(path, { bigint: true });
    return `${dev}:${ino}`;
  } catch {
    return null;
  }
}

async function write(path: string, text: string): Promise<void> {
  try {
    await writeFileAtomic(path, [text]);
  } catch (cause) {
    throw new DataError(`qa: cannot write ${path}: ${(cause as Error).message}`, { cause });
  }
}

/** Reports go to standard error, so that results can be piped. */
export function say(line: string): void {
  console.error(line);
}
