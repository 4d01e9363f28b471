/** The namespace `data`: texts, vocabularies, batches, and the safetensors format in memory. Files are in `dawngrad/node`. */
export {
  type Collated,
  defaultCollate,
  type HostTensor,
  type HostTypedArray,
  stack,
} from './collate.js';
export {
  DataLoader,
  type DataLoaderOptions,
  type DataLoaderState,
  type Epoch,
} from './data-loader.js';
export {
  type BatchOptions,
  Dataset,
  type DatasetInput,
  type IndexedDataset,
  type ShuffleOptions,
} from './dataset.js';
export { DatasetBatches, type DatasetPosition } from './dataset-batches.js';
export type { StreamSource } from './dataset-source.js';
export {
  chooseColumns,
  collectDocuments,
  type DocumentColumns,
  type DocumentOptions,
  filmKey,
  type LabelledDocument,
  readDocuments,
  type SkipReason,
  titleKey,
} from './documents.js';
export {
  type Exploration,
  type ExploredDocument,
  type ExploreOptions,
  exploreTable,
  type FrequentWord,
  type MissingValues,
  type SimilarPair,
} from './explore.js';
export {
  CategoryEncoder,
  type CategoryOptions,
  MedianImputer,
  type MedianImputerJSON,
  type MedianImputerOptions,
  missingFlags,
  type NameColumn,
  type NumberColumn,
  StandardScaler,
  type StandardScalerJSON,
} from './features.js';
export { type ClassCounts, type LogOddsOptions, logOdds, type TypicalWord } from './log-odds.js';
export { stripTags } from './markup.js';
export {
  bigramLoss,
  type NatsSum,
  NgramModel,
  type NgramModelOptions,
  type NgramOptions,
  unigramLoss,
} from './ngram.js';
export {
  type Film,
  type FilmAwards,
  formatJoin,
  type JoinConflict,
  joinOscars,
  type Nomination,
  type OscarJoin,
  readNominations,
} from './oscars.js';
export {
  formatAllQA,
  formatPrompt,
  formatQA,
  type LocatedQAPair,
  parseQA,
  type QAPair,
  type QAProblem,
  type QATokenizer,
  scanQA,
  type TokenizedQA,
  tokenizeQA,
  tokenizeTexts,
} from './qa.js';
export {
  CLEANINGS,
  type Cleaning,
  type CleanOptions,
  cleanText,
  decodeEntities,
  type Removed,
} from './qa-clean.js';
export { type DedupeOptions, type Duplicate, dedupeTexts } from './qa-dedupe.js';
export { LABEL_STYLES, type Labelled, type LabelOptions, type LabelStyle, labelQA } from './qa-label.js';
export { formatPosts, type Post, parsePosts, renumber } from './qa-posts.js';
export {
  groupByQuestion,
  hashSplit,
  type QASplit,
  type QASplitOptions,
  questionKey,
  splitQA,
} from './qa-split.js';
export { type DuplicateCount, type QAStats, type StatsOptions, statsQA } from './qa-stats.js';
export { HostRandom, type HostRandomState, permutation } from './random.js';
export {
  parseSafetensors,
  type SafetensorsContents,
  type SafetensorsDType,
  type SafetensorsEntry,
  type SafetensorsInput,
  serializeSafetensors,
} from './safetensors.js';
export {
  type SafetensorsValues,
  safetensorsEntry,
  toFloat32,
  toFloat64,
  toInt32,
} from './safetensors-values.js';
export {
  type DivideOptions,
  type DocumentSplit,
  type Fold,
  kFolds,
  type SplitOptions,
  type Splittable,
  splitDocuments,
} from './splits.js';
export { checkColumns, type Row, type RowOptions, type Table, tableOf } from './table.js';
export {
  SlidingWindowDataset,
  type Split,
  type SplitFractions,
  splitText,
  stripGutenberg,
  type TextWindow,
  trainValidationTestSplit,
} from './text.js';
export {
  type EvaluationOptions,
  evaluationBlocks,
  IGNORE,
  type MaskedTokens,
  type TokenBlock,
  TokenBlocks,
  type TokenBlocksOptions,
  type TokenBlocksState,
} from './token-blocks.js';
export type { GPT2Tokenizer, GPT2TokenizerJSON, Tokenizer, TokenStream } from './tokenizer.js';
export { twinKeys } from './twins.js';
export {
  CharVocabulary,
  type CharVocabularyJSON,
  tokenizeWords,
  UNKNOWN,
  WordVocabulary,
  type WordVocabularyJSON,
  type WordVocabularyOptions,
} from './vocabulary.js';
