/** Huffman codes as the tables that the scan kernel looks into. */
import { S3aError } from '../../errors.ts';
import type { HuffmanCode } from './header.ts';

/** Bits that are looked up at once. */
export const LOOKUP_BITS = 10;

/** What ends a block adds so much to the number of the coefficient. */
export const END_OF_BLOCK = 128;

/** Bytes of a table: the entries, then for codes that are longer the limits, the offsets and the symbols. */
export const [LIMITS, OFFSETS, SYMBOLS] = [0, 68, 136].map(at => at + (4 << LOOKUP_BITS));
export const TABLE_BYTES: number = SYMBOLS + 256 + 8;

/**
 * Writes a code's table.
 *
 * An entry is, from the lowest: 8 bits with the number of bits of the code and the value behind it, 8 with the step to the next
 * coefficient, 16 with the value. Where these bits do not fit into what is looked up, it is 8 zeros, 8 bits of the symbol, 16 with
 * the number of bits of the code; all zeros where the code itself is longer.
 */
export function writeLookup({ counts, symbols }: HuffmanCode, to: Uint8Array): void {
  if (to.length < TABLE_BYTES) throw new S3aError('SHAPE', `a Huffman table of ${to.length} bytes`);
  const words = new Int32Array(to.buffer, to.byteOffset, SYMBOLS / 4);
  // Codes come in the order of their bits, so the entries are written from the first on.
  let filled = 0;
  for (let length = 1, code = 0, at = 0; length <= 16; length++) {
    const count = counts[length - 1];
    words[OFFSETS / 4 + length] = at - code;
    for (let i = 0; i < count && length <= LOOKUP_BITS; i++) {
      filled = writeEntries(words, filled, length, symbols[at + i]);
    }
    code += count;
    at += count;
    // In 16 bits, the first code that is longer.
    words[LIMITS / 4 + length] = code << (16 - length);
    code *= 2;
  }
  words.fill(0, filled, 1 << LOOKUP_BITS);
  to.set(symbols, SYMBOLS);
}

/** The entries from `at` that begin with one code of `length` bits; gives the number of the one behind. */
function writeEntries(entries: Int32Array, at: number, length: number, symbol: number): number {
  const [run, size] = [symbol >> 4, symbol & 15];
  const all = 1 << (LOOKUP_BITS - length);
  const span = all >> size;
  if (span === 0) {
    entries.fill((length << 16) | (symbol << 8), at, at + all);
    return at + all;
  }
  const step = size === 0 && run < 15 ? END_OF_BLOCK : run + 1;
  const lengths = (step << 8) | (length + size);
  for (let bits = 0; bits < 1 << size; bits++) {
    // Values that begin with a zero are the negative ones.
    const value = bits < 1 << (size - 1) ? bits - (1 << size) + 1 : bits;
    for (const end = at + span; at < end; at++) entries[at] = ((size === 0 ? 0 : value) << 16) | lengths;
  }
  return at;
}
