/** Node only. The files of a model: a folder's, or the Hub's; and those of them that are no weights. */
import { existsSync, statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { openHubRepo } from '../data/hub.js';
import { differenceFromR50k, GPT2Tokenizer, type Tokenizer, tokenizerFromJSON } from '../data/tokenizer.js';
import { DataError } from '../device/errors.js';
import type { PretrainedOptions } from './pretrained.js';

export interface ModelFiles {
  /** For messages: the folder, or the name on the Hub. */
  readonly label: string;
  /** Where a file lies, once it has been downloaded if need be; null where the model has none of this name. */
  path(name: string): Promise<string | null>;
}

/** @throws DataError for a folder that is not there, or a name that the Hub has not */
export async function openModelFiles(
  nameOrFolder: string,
  { revision, onProgress }: PretrainedOptions = {},
): Promise<ModelFiles> {
  if (existsSync(nameOrFolder) && statSync(nameOrFolder).isDirectory()) {
    return {
      label: nameOrFolder,
      path: async (name) => {
        const path = join(nameOrFolder, name);
        return existsSync(path) ? path : null;
      },
    };
  }
  // As the Hub names repositories: NAME or OWNER/NAME.
  if (!/^[\w-][\w.-]*(\/[\w-][\w.-]*)?$/.test(nameOrFolder)) {
    throw new DataError(
      `GPT2: expected a folder or a name on the Hub like openai-community/gpt2, got '${nameOrFolder}', which is neither`,
    );
  }
  const repo = await openHubRepo(nameOrFolder, {
    revision,
    onProgress:
      onProgress && (({ file, bytes, total }) => onProgress({ kind: 'download', file, bytes, total })),
  }).catch((cause: Error) => {
    // It may have been meant as a folder, and mistyped.
    throw new DataError(`${cause.message}; a folder ${nameOrFolder} is not here either`, { cause });
  });
  return { label: nameOrFolder, path: (name) => repo.download(name) };
}

/** A JSON file of the model, null where it has none. @throws DataError naming the file where it is no JSON */
export async function readJSON(files: ModelFiles, name: string): Promise<unknown> {
  const path = await files.path(name);
  if (path === null) return null;
  try {
    return JSON.parse(await readFile(path, 'utf8'));
  } catch (cause) {
    throw new DataError(`${files.label}/${name}: expected JSON, got: ${(cause as Error).message}`, { cause });
  }
}

/**
 * The tokenizer of a model: tokenizer.json where it is there, ours or one of Hugging Face's that is GPT-2's; else GPT-2's
 * own, if vocab.json, where it is there, and the number of tokens agree.
 *
 * @throws DataError where it is another one than GPT-2's, or has more tokens than the model
 */
export async function readTokenizer(files: ModelFiles, vocabSize: number): Promise<Tokenizer> {
  let tokenizer: Tokenizer = new GPT2Tokenizer();
  const vocab = await readJSON(files, 'vocab.json');
  if (vocab !== null) check(files, 'vocab.json', vocab);
  else {
    const json = await readJSON(files, 'tokenizer.json');
    const theirs = (json as { model?: { vocab?: unknown } } | null)?.model?.vocab;
    if (theirs !== undefined) check(files, 'tokenizer.json', theirs);
    else if (json !== null) tokenizer = tokenizerFromJSON(json);
    else if (vocabSize < tokenizer.size) {
      throw new DataError(
        `${files.label}: expected tokenizer.json beside a model of ${vocabSize} tokens, which is not GPT-2's ` +
          `vocabulary of ${tokenizer.size}; save it with saveGPT2(folder, model, tokenizer)`,
      );
    }
  }
  if (tokenizer.size > vocabSize) {
    throw new DataError(
      `${files.label}: expected a tokenizer of at most vocab_size ${vocabSize} ids, got one of ${tokenizer.size}`,
    );
  }
  return tokenizer;
}

function check(files: ModelFiles, name: string, vocab: unknown): void {
  const isTable = typeof vocab === 'object' && vocab !== null && !Array.isArray(vocab);
  const difference = isTable
    ? differenceFromR50k(vocab as Record<string, number>)
    : 'no table of ids by token';
  if (difference !== null) {
    throw new DataError(
      `${files.label}/${name}: expected GPT-2's vocabulary, got another one: ${difference}`,
    );
  }
}
