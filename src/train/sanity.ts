/** Looks for what silently ruins a fine-tuning run before its first step, and says what the likely cause is. */
import { type Finding, finding, nats } from './finding.js';

/** A trained model that does no better than this share of ln V has hardly learnt from its text. */
const START_SHARE = 0.7;
/** Models are stored with vocabularies rounded up to such a multiple, for speed: 50,257 becomes 50,304. */
const PADDED_TO = 64;

/** Plain English of several subjects, on which every model of English prose must do well. */
export const PLAIN_ENGLISH = `When people talk about their lives, they often begin with the things that worry them. A friend may listen for a long time before saying anything at all. It is hard to know what another person needs, and it is easy to give advice too early. Most of the time it helps to ask a question, to wait for the answer, and to think about what was said. The next day the two of them went for a walk by the river, and they talked about work, about their children, and about the weather. In the evening they were tired but happy, and they agreed to meet again.`;

/**
 * Compares the sizes of tokenizer and model, and the ids of the data with what the model has rows for.
 *
 * @param vocabSize V: rows of the model's token embedding
 * @param ids all token ids that the model will see
 */
export function checkVocabulary(
  tokenizer: { readonly size: number },
  vocabSize: number,
  ids: Int32Array,
): Finding[] {
  let largest = -1;
  let smallest = 0;
  for (const id of ids) {
    if (id > largest) largest = id;
    if (id < smallest) smallest = id;
  }
  if (largest >= vocabSize || smallest < 0) {
    const bad = smallest < 0 ? smallest : largest;
    return [
      finding(
        'error',
        'ids-outside-vocabulary',
        `expected token ids below ${vocabSize}, the model's vocabulary, got ${bad}: the tokenizer (${tokenizer.size} tokens) is not the one that the model was trained with`,
      ),
    ];
  }
  const isPadded = vocabSize % PADDED_TO === 0 && vocabSize - tokenizer.size < 2 * PADDED_TO;
  if (tokenizer.size > vocabSize || (tokenizer.size < vocabSize && !isPadded)) {
    return [
      finding(
        'warning',
        'vocabulary-mismatch',
        `expected a tokenizer of ${vocabSize} tokens, as the model's vocabulary has, got one of ${tokenizer.size}: its ids mean other pieces of text to the model; a tokenizer.json that belongs to another model, or is missing from the folder, is the likely cause`,
      ),
    ];
  }
  return [];
}

/**
 * Looks at the tokens themselves: ends of texts, and whether anything counts.
 *
 * @param data `mask`: 1 where a token counts as target
 * @param options `documents`: how many texts or answers should have an end; `part`: what the data are called in messages
 */
export function checkTokens(
  { ids, mask }: { readonly ids: Int32Array; readonly mask: Uint8Array },
  tokenizer: { readonly endOfText: number | null },
  { documents, part = 'training' }: { documents: number; part?: string },
): Finding[] {
  const out: Finding[] = [];
  // Nothing predicts the first token.
  if (!mask.subarray(1).includes(1)) {
    out.push(
      finding(
        'error',
        'nothing-counts',
        `expected targets that count among the ${ids.length} ${part} tokens, got none: every token is masked, so the loss has nothing to learn from; answersOnly on data without answers is the likely cause`,
      ),
    );
  }
  const { endOfText } = tokenizer;
  if (endOfText === null) {
    out.push(
      finding(
        'note',
        'no-end-of-text',
        'the tokenizer has no end-of-text token: the model cannot learn where a text ends, and generation runs to its limit',
      ),
    );
  } else {
    const ends = ids.reduce((n, id) => n + (id === endOfText ? 1 : 0), 0);
    if (ends < documents) {
      out.push(
        finding(
          'warning',
          'ends-missing',
          `expected an end-of-text token (id ${endOfText}) after each of ${documents} texts in the ${part} data, got ${ends}: the model will not learn to stop; the tokens were made without it, or its name was encoded as plain text`,
        ),
      );
    }
  }
  return out;
}

/**
 * Looks whether training reaches all positions of a model with random weights.
 *
 * @param blockSize tokens of the blocks that are trained on
 * @param contextLength rows of the model's position embedding
 */
export function checkPositions(blockSize: number, contextLength: number): Finding[] {
  if (blockSize >= contextLength) return [];
  return [
    finding(
      'warning',
      'positions-untrained',
      `expected blocks as long as the model's context, ${contextLength} tokens, got ${blockSize}: positions ${blockSize} to ${contextLength - 1} stay random, and text beyond ${blockSize} tokens falls apart; take a context of ${blockSize}, or longer blocks`,
    ),
  ];
}

/** What the loss before training is compared with, all in nats per token. */
export interface StartFacts {
  /** The untouched model's loss on the held-out text. */
  readonly loss: number;
  /** V. */
  readonly vocabSize: number;
  /** Loss of token frequencies on the same text. */
  readonly unigram: number;
  /** Whether the weights claim to be trained. */
  readonly pretrained: boolean;
  /** The untouched model's loss on PLAIN_ENGLISH, where it was computed. */
  readonly plain?: number;
}

/** One line: the loss before training beside ln V, and what is usual. */
export function describeStart({ loss, vocabSize, pretrained, plain }: StartFacts): string {
  const uniform = Math.log(vocabSize);
  const usual = pretrained
    ? `a pre-trained GPT-2 gives about 3 to 4 on English prose; ${nats(uniform)} would be no knowledge at all`
    : `random weights give about ${nats(uniform)}`;
  const aside = plain === undefined ? '' : `, ${nats(plain)} on plain English`;
  return `untouched, the model's loss is ${nats(loss)} nats per token${aside}; ln V = ${nats(uniform)} (V = ${vocabSize}); ${usual}`;
}

/**
 * Judges the loss before training: a trained model that knows no more than token frequencies is broken, unless it shows on
 * plain English that only the text is foreign to it.
 */
export function checkStart(facts: StartFacts): Finding[] {
  const { loss, vocabSize, unigram, pretrained, plain } = facts;
  const uniform = Math.log(vocabSize);
  if (!Number.isFinite(loss)) {
    return [
      finding(
        'error',
        'loss-not-finite',
        `expected a finite loss before training, got ${loss}: the weights hold NaN or infinite values (a broken or half-downloaded file), or were made for another precision`,
      ),
    ];
  }
  if (!pretrained) {
    // Fresh logits are small, so the loss is ln V and a little.
    if (Math.abs(loss - uniform) <= Math.max(0.5, 0.1 * uniform)) return [];
    return [
      finding(
        'warning',
        'random-start',
        `expected about ln V = ${nats(uniform)} nats from random weights, got ${nats(loss)}: ${loss > uniform ? 'the initial weights are too large' : 'the targets are known beforehand (shifted wrongly?) or the weights are not random'}`,
      ),
    ];
  }
  const limit = Math.min(START_SHARE * uniform, unigram);
  if (loss <= limit) return [];
  const above =
    loss > unigram
      ? `the ${nats(unigram)} of plain token frequencies`
      : `${nats(limit)}, which is ${START_SHARE} of ln V`;
  if (plain !== undefined && plain <= START_SHARE * uniform && plain < loss) {
    return [
      finding(
        'note',
        'foreign-text',
        `the trained model starts at ${nats(loss)} nats per token, above ${above}, but gives ${nats(plain)} on plain English: the weights are sound, and the text is unlike what they learnt from`,
      ),
    ];
  }
  return [
    finding(
      'warning',
      'start-too-high',
      `expected a trained model to start well below ${above}, got ${nats(loss)} nats per token: the weights or the tokenizer are not what they should be. Likely causes: matrices stored as [in, out] and loaded as [out, in], weights missing from the file and left random or never trained, token embeddings in another order, a tokenizer of another model, attention scale or layer-norm epsilon that differ. Training would spend its steps on repairing that`,
    ),
  ];
}
