/** sentencepiece's normalisation: rewriting by a compiled table of prefixes, then one space between words. */

/** Rewrites a text by sentencepiece's `precompiled_charsmap`: the text in stretches, each as its rule leaves it. */
export type Charsmap = (text: string) => string[];

/** The space of pieces, U+2581. */
export const SPACE = '▁';

/**
 * The table of a `precompiled_charsmap`: the length of a double-array trie (github.com/s-yata/darts-clone), the trie over
 * the UTF-8 bytes of what is rewritten, and the texts that replace it, each ended by a zero.
 *
 * Of several rules that fit, the longest counts; a character without a rule stays.
 * @returns undefined when the bytes are no such table
 */
export function readCharsmap(bytes: Uint8Array): Charsmap | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const size = bytes.length < 4 ? -1 : view.getUint32(0, true);
  if (size < 4 || size % 4 !== 0 || 4 + size > bytes.length) return undefined;
  const units = Uint32Array.from({ length: size / 4 }, (_, i) => view.getUint32(4 + 4 * i, true));
  const texts = bytes.subarray(4 + size);
  const replacement = (at: number): string => {
    const end = texts.indexOf(0, at);
    return Buffer.from(texts.subarray(at, end < 0 ? texts.length : end)).toString();
  };
  return text => {
    const input = Buffer.from(text);
    const out: string[] = [];
    for (let at = 0; at < input.length; ) {
      const rule = longestRule(units, input, at);
      const length = rule ? rule.length : characterLength(input[at]);
      out.push(rule ? replacement(rule.value) : input.toString('utf8', at, at + length));
      at += length;
    }
    return out;
  };
}

function longestRule(
  units: Uint32Array,
  input: Uint8Array,
  start: number,
): { value: number; length: number } | undefined {
  let found: { value: number; length: number } | undefined;
  let position = childOffset(units[0]);
  for (let at = start; at < input.length; at++) {
    position = (position ^ input[at]) >>> 0;
    // What lies outside a damaged table fits no byte.
    if (position >= units.length || (units[position] & 0x800000ff) >>> 0 !== input[at]) break;
    const unit = units[position];
    position = (position ^ childOffset(unit)) >>> 0;
    const isLeaf = ((unit >>> 8) & 1) === 1;
    if (isLeaf && position < units.length) {
      found = { value: units[position] & 0x7fffffff, length: at + 1 - start };
    }
  }
  return found;
}

function childOffset(unit: number): number {
  return ((unit >>> 10) << ((unit & 0x200) >>> 6)) >>> 0;
}

function characterLength(first: number): number {
  if (first < 0x80) return 1;
  if (first < 0xe0) return 2;
  return first < 0xf0 ? 3 : 4;
}

/**
 * A text as sentencepiece's normaliser leaves it, spaces written as {@link SPACE}.
 * @param collapse whether spaces at the ends and all but one in a row are removed
 */
export function sentencepieceNormalise(text: string, charsmap: Charsmap | undefined, collapse: boolean): string {
  let out = '';
  let afterSpace = collapse;
  for (const stretch of charsmap ? charsmap(text) : text) {
    const kept = afterSpace ? stretch.replace(/^ +/, '') : stretch;
    if (kept === '') continue;
    out += kept;
    afterSpace = collapse && kept.endsWith(' ');
  }
  const spaced = out.replaceAll(' ', SPACE);
  return collapse ? spaced.replace(/▁+$/, '') : spaced;
}
