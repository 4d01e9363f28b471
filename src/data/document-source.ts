/** Node only. Documents by the name of their source: a package's short name, a file or a folder. */
import {
  collectDocuments,
  type DocumentOptions,
  type LabelledDocument,
  readDocuments,
  type SkipReason,
} from './documents.js';
import { type SpamOptions, sotuDocuments, spamDocuments } from './npm-documents.js';
import { openTable, type TableOptions } from './table-file.js';

/** All that says how a source is read; what does not fit it is ignored. */
export interface DocumentSourceOptions extends DocumentOptions, TableOptions, SpamOptions {}

/**
 * The documents of `sotu`, `spam`, or a file or folder that `openTable` knows; they may be read more than once.
 * @throws DataError as `openTable` and `readDocuments` do, and when the npm package of a short name is not installed
 */
export async function openDocuments(
  source: string,
  options: DocumentSourceOptions = {},
): Promise<Iterable<LabelledDocument> | AsyncIterable<LabelledDocument>> {
  return packaged(source, options) ?? readDocuments(await openTable(source, options), options);
}

/** All documents of a source in memory, and how many rows became none, by reason. */
export async function loadDocuments(
  source: string,
  options: DocumentSourceOptions = {},
): Promise<{ documents: LabelledDocument[]; skipped: ReadonlyMap<SkipReason, number> }> {
  const documents = packaged(source, options);
  if (documents !== null) return { documents, skipped: new Map() };
  return await collectDocuments(await openTable(source, options), options);
}

function packaged(source: string, options: DocumentSourceOptions): LabelledDocument[] | null {
  const documents = source === 'sotu' ? sotuDocuments() : source === 'spam' ? spamDocuments(options) : null;
  return documents?.slice(0, options.limit) ?? null;
}
