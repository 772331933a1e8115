/** Captions, and the tokenizer learnt from them. */
import { Tokenizer } from '@huggingface/tokenizers';
import { describe, expect, it } from 'vitest';
import { TEMPLATES } from '../src/clip/prototypes.ts';
import { random } from '../src/random.ts';
import recorded from '../test/goldens/demo-tokenizer.json' with { type: 'json' };
import { captionOf, captionTemplates, captionTexts } from './captions.ts';
import { loadConcepts } from './concepts.ts';
import { textLength } from './tiny-clip.ts';
import { endToken, startToken, trainTokenizer } from './tokenizer-train.ts';

const concepts = loadConcepts();

describe('captionOf', () => {
  it('uses only the concept’s own name and tags', () => {
    const templates = captionTemplates.map(template => template.split('{}'));
    const rng = random('captions');
    for (const concept of concepts) {
      const caption = captionOf(concept, rng);
      const known = new Set([concept.name, ...concept.tags, 'which has', 'and'].flatMap(text => text.split(' ')));
      const fits = templates.some(([before, after]) => {
        if (!caption.startsWith(before) || !caption.endsWith(after)) return false;
        const filling = caption.slice(before.length, caption.length - after.length);
        return filling.split(/,? /).every(word => known.has(word));
      });
      expect(fits, `${concept.name}: ${caption}`).toBe(true);
    }
  });

  it('carries the name nine times in ten, and repeats for equal streams', () => {
    const dog = concepts.find(concept => concept.name === 'dog')!;
    const captions = Array.from({ length: 1000 }, (_, i) => captionOf(dog, random('dog', i)));
    const named = captions.filter(caption => /\bdog\b/.test(caption)).length;
    expect(named).toBeGreaterThan(870);
    expect(named).toBeLessThan(960);
    expect(captionOf(dog, random('dog', 3))).toBe(captions[3]);
  });

  it('knows the seven templates of METHOD §1', () => {
    for (const template of TEMPLATES) expect(captionTemplates).toContain(template);
  });
});

describe('trainTokenizer', () => {
  const file = trainTokenizer(captionTexts(concepts), 3072);
  const json = JSON.parse(file) as { model: { vocab: Record<string, number>; merges: string[] } };
  const tokenizer = new Tokenizer(JSON.parse(file), { tokenizer_class: 'CLIPTokenizer' });

  it('lays its vocabulary out as CLIP does', () => {
    const { vocab, merges } = json.model;
    expect(Object.values(vocab).sort((a, b) => a - b)).toEqual(Array.from({ length: 3072 }, (_, id) => id));
    expect(merges).toHaveLength(3072 - 512 - 2);
    // The first and last ids of OpenAI's own vocabulary are of the same tokens.
    expect([vocab['!'], vocab['"'], vocab.a, vocab['!</w>'], vocab['a</w>']]).toEqual([0, 1, 64, 256, 320]);
    expect([vocab[startToken], vocab[endToken]]).toEqual([3070, 3071]);
    expect(vocab[merges[0].replace(' ', '')]).toBe(512);
  });

  it('reads captions back, within the text tower', () => {
    const rng = random('tokens');
    const lengths: number[] = [];
    for (const concept of concepts) {
      for (let i = 0; i < 3; i++) {
        const caption = captionOf(concept, rng);
        const { ids, tokens } = tokenizer.encode(caption);
        expect([tokens[0], tokens.at(-1)]).toEqual([startToken, endToken]);
        const text = tokens.slice(1, -1).join('').replaceAll('</w>', '');
        expect(text).toBe(caption.replaceAll(' ', ''));
        lengths.push(ids.length);
      }
    }
    // The text tower cuts the others.
    expect(lengths.filter(length => length <= textLength).length / lengths.length).toBeGreaterThan(0.99);
  });

  it('gives the ids that Python’s tokenizers and transformers give', () => {
    // Recorded by scripts/goldens/demo_tokenizer.py, where transformers' CLIPTokenizerFast gives the same.
    expect(recorded).toHaveLength(8);
    for (const { text, ids } of recorded) expect(tokenizer.encode(text).ids).toEqual(ids);
  });

  it('is the same however often it is learnt', () => {
    expect(trainTokenizer(captionTexts(concepts), 3072)).toBe(file);
  });
});
