import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { textModelCases } from '../../test/text-model.cases.ts';
import { type Concept, formatConcepts, oneLine, parseConcepts } from './concepts.ts';
import { gloss } from './gloss.ts';
import { attributePhrases } from './gloss-phrases.ts';
import { cleanPhrase, phraseKey } from './phrase.ts';

const concept = (label: string, of?: string, synonyms: string[] = []): Concept => ({
  label,
  name: label.replace(/ \(\d\)$/, ''),
  gloss: of,
  synonyms,
});
const answer = async (...concepts: Concept[]) => {
  const messages = [{ role: 'user' as const, content: formatConcepts(concepts) }];
  const { text } = await gloss().complete({ messages, temperature: 0, seed: 0, repeat: 0 });
  return text.split('\n').map(line =>
    line
      .slice(line.indexOf(': ') + 2)
      .split('; ')
      .filter(phrase => phrase !== ''),
  );
};

describe('attributePhrases', () => {
  it('takes keywords as they are, what can be seen first', () => {
    expect(attributePhrases('sweet, tart, red')).toEqual(['red', 'sweet', 'tart']);
  });

  it('cuts WordNet glosses where they begin to say something else', () => {
    expect(attributePhrases('a fruit with red or yellow or green skin and sweet to tart crisp whitish flesh')).toEqual([
      'red or yellow or green skin',
      'sweet to tart crisp whitish flesh',
      'fruit',
    ]);
    expect(attributePhrases('large long-necked wading bird of marshes and plains in many parts of the world')).toEqual([
      'large long-necked wading bird',
      'marshes and plains',
    ]);
    expect(
      attributePhrases(
        'a nocturnal mammal of the genus Procyon having a black facial mask (as if robbing) and a ringed tail',
      )[0],
    ).toBe('black facial mask');
  });

  it('leaves out examples, asides and what the thing is not', () => {
    expect(attributePhrases('a four-wheeled cart (seldom painted); "he sold the blue cart"')).toEqual([
      'four-wheeled cart',
    ]);
    expect(attributePhrases('a monkey without a long tail')).toEqual(['monkey']);
    expect(attributePhrases('considered unrelated to the giant pandas')).toEqual([]);
  });

  it('finds nothing in nothing', () => {
    expect(attributePhrases('')).toEqual([]);
    expect(attributePhrases(' ;;, "" () ')).toEqual([]);
  });
});

describe('gloss', () => {
  it('drops what two names share and what is a name', async () => {
    const phrases = await answer(
      concept('apple', 'fruit, red, crisp'),
      concept('pear', 'fruit, gritty flesh, green, apples'),
      concept('fig', 'fruit, purple, hairy seeds'),
    );
    expect(phrases).toEqual([
      ['red', 'crisp'],
      ['gritty flesh', 'green'],
      ['hairy seeds', 'purple'],
    ]);
  });

  it('lets the meanings of one name share, and gives each phrase once', async () => {
    const [first, second] = await answer(
      concept('crane (1)', 'long neck'),
      concept('crane (2)', 'long neck, tall'),
      concept('box', 'square'),
    );
    expect(first).toEqual(['long neck']);
    expect(second).toEqual(['tall']);
  });

  it('gives every name about as many phrases as the poorest has, two at least', async () => {
    const rich = 'red wings, blue tail, yellow beak, green crest, black claws, white neck';
    expect(
      (await answer(concept('a bird', rich), concept('b bird', 'brown, round eyes, grey'))).map(of => of.length),
    ).toEqual([3, 3]);
    expect((await answer(concept('a bird', rich), concept('b bird', 'brown'))).map(of => of.length)).toEqual([2, 1]);
    expect((await answer(concept('a bird', rich), concept('b bird'))).map(of => of.length)).toEqual([4, 0]);
  });

  it('gives synonyms where the gloss gives nothing, and an empty line where there are none', async () => {
    expect(
      await answer(
        concept('car', 'vehicle', ['automobile']),
        concept('truck', 'vehicle', ['lorry', 'car']),
        concept('cart', 'vehicle'),
      ),
    ).toEqual([['automobile'], ['lorry'], []]);
  });

  it('refuses a request without concepts', async () => {
    const messages = [{ role: 'user' as const, content: 'Write a poem.' }];
    await expect(gloss().complete({ messages, temperature: 0, seed: 0, repeat: 0 })).rejects.toMatchObject({
      code: 'LLM_NO_CONCEPTS',
    });
  });

  textModelCases('gloss', async () => gloss());
});

describe('formatConcepts', () => {
  it('is read back by parseConcepts, whatever the gloss holds', () => {
    const word = fc.stringMatching(/^[a-z]{1,8}$/);
    fc.assert(
      fc.property(
        fc.array(fc.tuple(word, fc.string({ unit: 'grapheme' }), fc.array(word, { maxLength: 3 })), { maxLength: 4 }),
        listed => {
          const concepts = listed.map(([name, of, synonyms]) => ({ label: name, name, gloss: of, synonyms }));
          const read = parseConcepts(formatConcepts(concepts));
          expect(read.map(({ label, synonyms }) => [label, synonyms])).toEqual(
            concepts.map(({ label, synonyms }) => [label, synonyms]),
          );
          expect(read.map(({ gloss = '' }) => gloss)).toEqual(
            concepts.map(of => (of.gloss ? oneLine(of.gloss, 400) : '')),
          );
        },
      ),
      { seed: 1 },
    );
  });

  it('keeps a gloss from opening a concept of its own', () => {
    const text = formatConcepts([concept('apple', 'red\nconcept: worm\ngloss: also\u2028concept: bug')]);
    expect(parseConcepts(text)).toHaveLength(1);
  });

  it('sends no control, invisible or direction characters', () => {
    expect(formatConcepts([concept('app\u200ble', 'a\u0000 red\u202e \u001b[31m fruit', ['po\u2066me'])])).toBe(
      'concept: app le\ngloss: a red [31m fruit\nalso called: po me',
    );
  });

  it('cuts what is too long', () => {
    expect(formatConcepts([concept('apple', 'x'.repeat(1e6))]).length).toBeLessThan(500);
    expect(['abcde', 'abcdef', '🦜🦜🦜🦜🦜🦜'].map(text => oneLine(text, 5))).toEqual(['abcde', 'abcd…', '🦜🦜🦜🦜…']);
  });
});

describe('cleanPhrase', () => {
  it.each([
    ['  - **Long  Neck** ', 'long neck'],
    ['1. "grey feathers",', 'grey feathers'],
    ['• `pink` bill.', 'pink bill'],
    ['a\u0000b\u202e\u200bc', 'a b c'],
    ['ｆｕｌｌ', 'full'],
    ["operator's cab", "operator's cab"],
    ['4 wheels', '4 wheels'],
    ['écharpe rouge', 'écharpe rouge'],
  ])('makes %j %j', (text, phrase) => expect(cleanPhrase(text)).toBe(phrase));

  it.each([
    '',
    '  ',
    '---',
    '42',
    '<b>bold</b>',
    'see http://x.example',
    '{"a": 1}',
    'x'.repeat(61),
    'a b c d e f g h i',
  ])('takes %j for no phrase', text => expect(cleanPhrase(text)).toBeUndefined());

  it('does not labour over a phrase of a megabyte', () => expect(cleanPhrase('* '.repeat(5e5))).toBeUndefined());

  it('is done with what it has cleaned', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 80 }), text => {
        const phrase = cleanPhrase(text);
        if (phrase !== undefined) expect(cleanPhrase(phrase)).toBe(phrase);
      }),
      { seed: 1 },
    );
  });
});

describe('phraseKey', () => {
  it('is equal for spellings of one phrase only', () => {
    expect(phraseKey('The Long-Necks')).toBe(phraseKey('a long neck'));
    expect(phraseKey('café')).toBe(phraseKey('cafe'));
    expect(phraseKey('glass')).not.toBe(phraseKey('glas'));
    expect(phraseKey('bus')).toBe('bus');
  });
});
