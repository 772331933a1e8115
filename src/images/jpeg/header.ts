/** What a JPEG file says before its pixels, of the files that this room decodes itself: one scan of 8-bit Huffman codes. */

import { MARKER, segments } from './segments.ts';

/** A code: how many of each length, 1 … 16, and the symbols in the order of the codes. */
export interface HuffmanCode {
  readonly counts: Uint8Array;
  readonly symbols: Uint8Array;
}

/** A plane of the image. */
export interface Component {
  /** Blocks across and down in a group of blocks that belong together. */
  readonly across: number;
  readonly down: number;
  /** 64 divisors in the order of the rows of a block. */
  readonly divisors: Uint16Array;
  readonly dc: HuffmanCode;
  readonly ac: HuffmanCode;
}

export interface JpegFrame {
  readonly width: number;
  readonly height: number;
  /** Grey, or luma and two planes of colour. */
  readonly components: readonly Component[];
  /** Groups of blocks between two restarts; 0 is no restart. */
  readonly restart: number;
  /** Where the entropy-coded bytes begin. */
  readonly scan: number;
}

/** The n-th coefficient of the file is the NATURAL[n]-th of a block's rows. */
export const NATURAL: Uint8Array = zigzag();

function zigzag(): Uint8Array {
  const order = Array.from({ length: 64 }, (_, at) => at);
  const diagonal = (at: number): number => (at >> 3) + (at & 7);
  // Odd diagonals run down, even ones up.
  const along = (at: number): number => (diagonal(at) % 2 === 1 ? at >> 3 : at & 7);
  return Uint8Array.from(order.sort((a, b) => diagonal(a) - diagonal(b) || along(a) - along(b)));
}

interface Tables {
  readonly divisors: (Uint16Array | undefined)[];
  /** Four codes of DC, then four of AC. */
  readonly codes: (HuffmanCode | undefined)[];
}

/**
 * Reads the segments before the first scan.
 *
 * @returns undefined for what is not plain: progressive or arithmetic coding, 12 bits, inks, RGB, unusual sampling, several
 * scans, an EXIF orientation, and anything damaged
 */
export function readHeader(bytes: Uint8Array): JpegFrame | undefined {
  const tables: Tables = { divisors: [], codes: [] };
  let [restart, isYcc] = [0, false];
  let frame: DataView | undefined;
  for (const { marker, body, end } of segments(bytes)) {
    if (marker === MARKER.SOS) return frame && framed(frame, body, tables, restart, isYcc, end);
    if (marker === MARKER.SOF0 || marker === MARKER.SOF1) {
      if (frame) return undefined;
      frame = body;
    } else if (marker === MARKER.DQT) {
      if (!readDivisors(body, tables)) return undefined;
    } else if (marker === MARKER.DHT) {
      if (!readCodes(body, tables)) return undefined;
    } else if (marker === MARKER.DRI) {
      if (body.byteLength !== 2) return undefined;
      restart = body.getUint16(0);
    } else if (marker === MARKER.APP0) {
      isYcc ||= begins(body, 'JFIF\0') && body.byteLength >= 14;
    } else if (marker === MARKER.APP1) {
      if (begins(body, 'Exif') && !isUpright(body)) return undefined;
    } else if (marker === MARKER.APP14) {
      // Adobe's segment can say that the planes are red, green and blue.
      if (begins(body, 'Adobe') && !(body.byteLength >= 12 && body.getUint8(11) === 1)) return undefined;
    } else if (marker < MARKER.APP0) return undefined;
  }
  return undefined;
}

function begins(body: DataView, text: string): boolean {
  return body.byteLength >= text.length && [...text].every((c, i) => body.getUint8(i) === c.charCodeAt(0));
}

/** Whether EXIF data says that the first row is at the top and the first column left, or leaves it out. */
function isUpright(body: DataView): boolean {
  if (body.byteLength < 20 || body.getUint16(4) !== 0) return false;
  const tiff = new DataView(body.buffer, body.byteOffset + 6, body.byteLength - 6);
  const little = begins(tiff, 'II');
  const directory = tiff.getUint32(4, little);
  if (!(little || begins(tiff, 'MM')) || tiff.getUint16(2, little) !== 42 || directory + 2 > tiff.byteLength)
    return false;
  const entries = tiff.getUint16(directory, little);
  if (directory + 2 + 12 * entries > tiff.byteLength) return false;
  for (let at = directory + 2; at < directory + 2 + 12 * entries; at += 12) {
    if (tiff.getUint16(at, little) !== 0x0112) continue;
    const isShort = tiff.getUint16(at + 2, little) === 3 && tiff.getUint32(at + 4, little) === 1;
    if (!isShort || tiff.getUint16(at + 8, little) !== 1) return false;
  }
  return true;
}

function readDivisors(body: DataView, { divisors }: Tables): boolean {
  for (let at = 0; at < body.byteLength; ) {
    const [bytes, id] = [1 + (body.getUint8(at) >> 4), body.getUint8(at) & 15];
    if (bytes > 2 || id > 3 || at + 1 + 64 * bytes > body.byteLength) return false;
    const table = new Uint16Array(64);
    for (let k = 0; k < 64; k++) {
      table[NATURAL[k]] = bytes === 2 ? body.getUint16(at + 1 + 2 * k) : body.getUint8(at + 1 + k);
    }
    divisors[id] = table;
    at += 1 + 64 * bytes;
  }
  return true;
}

function readCodes(body: DataView, { codes }: Tables): boolean {
  for (let at = 0; at < body.byteLength; ) {
    const [kind, id] = [body.getUint8(at) >> 4, body.getUint8(at) & 15];
    if (kind > 1 || id > 3 || at + 17 > body.byteLength) return false;
    const bytes = new Uint8Array(body.buffer, body.byteOffset + at + 1, body.byteLength - at - 1);
    const counts = bytes.slice(0, 16);
    const length = counts.reduce((a, b) => a + b);
    if (length > 256 || 16 + length > bytes.length || !isPrefixCode(counts)) return false;
    const symbols = bytes.slice(16, 16 + length);
    // A difference of DC has at most 11 bits here, a coefficient 10.
    if (symbols.some(symbol => (kind === 0 ? symbol > 11 : (symbol & 15) > 10))) return false;
    codes[4 * kind + id] = { counts, symbols };
    at += 17 + length;
  }
  return true;
}

/** Whether there are as many codes of each length, of which none may be all ones. */
function isPrefixCode(counts: Uint8Array): boolean {
  let code = 0;
  return counts.every((count, i) => {
    code = 2 * code + count;
    return code < 2 ** (i + 1);
  });
}

function framed(
  frame: DataView,
  scan: DataView,
  { divisors, codes }: Tables,
  restart: number,
  isYcc: boolean,
  at: number,
): JpegFrame | undefined {
  const n = frame.byteLength >= 6 ? frame.getUint8(5) : 0;
  if (frame.byteLength !== 6 + 3 * n || frame.getUint8(0) !== 8 || scan.byteLength !== 4 + 2 * n) return undefined;
  const [height, width] = [frame.getUint16(1), frame.getUint16(3)];
  // All planes in one scan, all coefficients, all bits.
  const wanted = [63, 0].every((value, i) => scan.getUint8(2 * n + 2 + i) === value) && scan.getUint8(2 * n + 1) === 0;
  if (!wanted || scan.getUint8(0) !== n || width < 1 || height < 1 || (n !== 1 && n !== 3)) return undefined;
  const components: Component[] = [];
  const ids: number[] = [];
  for (let c = 0; c < n; c++) {
    const [id, sampling, table] = [0, 1, 2].map(i => frame.getUint8(6 + 3 * c + i));
    const [scanned, pair] = [0, 1].map(i => scan.getUint8(1 + 2 * c + i));
    const [table8, dc, ac] = [divisors[table], codes[pair >> 4], codes[4 + (pair & 15)]];
    if (scanned !== id || ids.includes(id) || !table8 || !dc || !ac || pair >> 4 > 3) return undefined;
    ids.push(id);
    const factors = [sampling >> 4, sampling & 15];
    if (factors.some(factor => factor < 1 || factor > 4)) return undefined;
    // A plane that is alone has groups of one block.
    const [across, down] = n === 1 ? [1, 1] : factors;
    components.push({ across, down, divisors: table8, dc, ac });
  }
  if (n === 3 && !(isYcc || ids.every((id, i) => id === i + 1))) return undefined;
  const [luma, ...colours] = components;
  const known = ['1×1', '2×1', '2×2'].includes(`${luma.across}×${luma.down}`);
  if (!known || colours.some(({ across, down }) => across !== 1 || down !== 1)) return undefined;
  // libjpeg does not smooth colour that is a pixel or two wide.
  if (luma.across === 2 && width < 5) return undefined;
  return { width, height, components, restart, scan: at };
}
