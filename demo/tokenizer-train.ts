/** Learns a small CLIP-style byte-level BPE and writes it in the form of CLIP's own tokenizer.json. */

export const startToken = '<|startoftext|>';
export const endToken = '<|endoftext|>';

const splitPattern = "'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+";
const wordEnd = '</w>';

interface Word {
  symbols: number[];
  count: number;
}

/** GPT-2's printable stand-ins for the 256 bytes, in CLIP's order of vocabulary. */
function byteSymbols(): { order: string[]; ofByte: string[] } {
  const range = (first: string, last: string) =>
    Array.from({ length: last.charCodeAt(0) - first.charCodeAt(0) + 1 }, (_, i) => first.charCodeAt(0) + i);
  const printable = [...range('!', '~'), ...range('¡', '¬'), ...range('®', 'ÿ')];
  const others = Array.from({ length: 256 }, (_, byte) => byte).filter(byte => !printable.includes(byte));
  const ofByte: string[] = [];
  for (const byte of printable) ofByte[byte] = String.fromCharCode(byte);
  others.forEach((byte, i) => {
    ofByte[byte] = String.fromCharCode(256 + i);
  });
  return { order: [...printable, ...others].map(byte => ofByte[byte]), ofByte };
}

/**
 * Learns `size` tokens (256 bytes, the same ending a word, merges, start and end) from weighted texts.
 *
 * The pair that counts most is merged first, ties by the order in which the pairs' tokens were made (Sennrich et al.
 * 2016, as CLIP uses it). Returns the text of tokenizer.json. Stops early where no pair is left, so the vocabulary can
 * be smaller than asked.
 *
 * @example await writeFile('tokenizer.json', trainTokenizer(captionTexts(loadConcepts()), 2560))
 */
export function trainTokenizer(texts: ReadonlyMap<string, number>, size: number): string {
  const { order, ofByte } = byteSymbols();
  const tokens = [...order, ...order.map(symbol => symbol + wordEnd)];
  const words = wordsOf(texts, ofByte, new Map(tokens.map((token, id) => [token, id])));

  // A pair of token ids as one number.
  const width = 1 << 16;
  const counts = new Map<number, number>();
  const holders = new Map<number, Set<Word>>();
  const tally = (word: Word, sign: 1 | -1) => {
    for (let i = 0; i + 1 < word.symbols.length; i++) {
      const pair = word.symbols[i] * width + word.symbols[i + 1];
      counts.set(pair, (counts.get(pair) ?? 0) + sign * word.count);
      let held = holders.get(pair);
      if (!held) {
        held = new Set();
        holders.set(pair, held);
      }
      if (sign === 1) held.add(word);
    }
  };
  for (const word of words) tally(word, 1);

  const merges: string[] = [];
  while (tokens.length < size - 2) {
    let best = -1;
    let bestCount = 0;
    for (const [pair, count] of counts) {
      if (count > bestCount || (count === bestCount && count > 0 && pair < best)) {
        best = pair;
        bestCount = count;
      }
    }
    if (best < 0) break;
    const left = Math.floor(best / width);
    const right = best % width;
    merges.push(`${tokens[left]} ${tokens[right]}`);
    const merged = tokens.push(tokens[left] + tokens[right]) - 1;
    for (const word of holders.get(best)!) {
      tally(word, -1);
      word.symbols = mergePair(word.symbols, left, right, merged);
      tally(word, 1);
    }
    counts.delete(best);
    holders.delete(best);
  }
  return tokenizerJson([...tokens, startToken, endToken], merges);
}

/** Every different word of the texts as token ids of its bytes, the last one ending the word. */
function wordsOf(texts: ReadonlyMap<string, number>, ofByte: readonly string[], ids: Map<string, number>): Word[] {
  const words = new Map<string, Word>();
  for (const [text, count] of texts) {
    for (const [piece] of text.normalize('NFC').toLowerCase().matchAll(new RegExp(splitPattern, 'gu'))) {
      const held = words.get(piece);
      if (held) {
        held.count += count;
        continue;
      }
      const symbols = [...new TextEncoder().encode(piece)].map(byte => ofByte[byte]);
      symbols[symbols.length - 1] += wordEnd;
      words.set(piece, { symbols: symbols.map(symbol => ids.get(symbol)!), count });
    }
  }
  return [...words.values()];
}

function mergePair(symbols: readonly number[], left: number, right: number, merged: number): number[] {
  const result: number[] = [];
  for (let i = 0; i < symbols.length; i++) {
    if (symbols[i] === left && symbols[i + 1] === right) {
      result.push(merged);
      i++;
    } else {
      result.push(symbols[i]);
    }
  }
  return result;
}

/** The file, field by field as openai/clip-vit-base-patch32 has it. */
function tokenizerJson(tokens: readonly string[], merges: readonly string[]): string {
  const vocab = Object.fromEntries(tokens.map((token, id) => [token, id]));
  const special = (content: string, normalized: boolean) => ({
    id: vocab[content],
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized,
    special: true,
  });
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
  return `${JSON.stringify(
    {
      version: '1.0',
      truncation: null,
      padding: null,
      added_tokens: [special(startToken, true), special(endToken, false)],
      normalizer: {
        type: 'Sequence',
        normalizers: [
          { type: 'NFC' },
          { type: 'Replace', pattern: { Regex: '\\s+' }, content: ' ' },
          { type: 'Lowercase' },
        ],
      },
      pre_tokenizer: {
        type: 'Sequence',
        pretokenizers: [
          { type: 'Split', pattern: { Regex: splitPattern }, behavior: 'Removed', invert: true },
          byteLevel,
        ],
      },
      post_processor: {
        type: 'RobertaProcessing',
        sep: [endToken, vocab[endToken]],
        cls: [startToken, vocab[startToken]],
        trim_offsets: false,
        add_prefix_space: false,
      },
      decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
      model: {
        type: 'BPE',
        dropout: null,
        unk_token: endToken,
        continuing_subword_prefix: '',
        end_of_word_suffix: wordEnd,
        fuse_unk: false,
        vocab,
        merges,
      },
    },
    null,
    1,
  )}\n`;
}
