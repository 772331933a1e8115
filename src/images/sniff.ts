/** Which image format some bytes are, by signature: only what is listed here ever reaches a decoder. */
import { S3aError } from '../errors.ts';

export type Format = 'jpeg' | 'png' | 'webp' | 'gif' | 'tiff' | 'avif' | 'bmp';

const AVIF_BRANDS = ['avif', 'avis'];

/**
 * The format of an image file.
 *
 * SVG is refused on purpose: it is a program for drawing (links, entities, unbounded work), not a photograph.
 *
 * @throws S3aError `BAD_IMAGE` for anything that is not one of the formats, saying what it seems to be instead.
 */
export function sniff(bytes: Uint8Array): Format {
  if (bytes.length === 0) throw new S3aError('BAD_IMAGE', 'empty file (0 bytes)');
  const head = String.fromCharCode(...bytes.subarray(0, 64));
  if (head.startsWith('\xff\xd8\xff')) return 'jpeg';
  if (head.startsWith('\x89PNG\r\n\x1a\n')) return 'png';
  if (head.startsWith('RIFF') && head.slice(8, 12) === 'WEBP') return 'webp';
  if (head.startsWith('GIF87a') || head.startsWith('GIF89a')) return 'gif';
  if (head.startsWith('II*\0') || head.startsWith('MM\0*')) return 'tiff';
  if (head.startsWith('II+\0') || head.startsWith('MM\0+')) return 'tiff';
  if (head.slice(4, 8) === 'ftyp' && isAvif(bytes)) return 'avif';
  if (head.startsWith('BM') && bytes.length > 26) return 'bmp';
  throw new S3aError('BAD_IMAGE', `not an image file (${describe(head)})`);
}

/** The file-type box names `avif` as its main brand or among the compatible ones. */
function isAvif(bytes: Uint8Array): boolean {
  const end = Math.min(bytes.length, new DataView(bytes.buffer, bytes.byteOffset).getUint32(0), 256);
  for (let at = 8; at + 4 <= end; at += 4) {
    if (AVIF_BRANDS.includes(String.fromCharCode(...bytes.subarray(at, at + 4)))) return true;
  }
  return false;
}

function describe(head: string): string {
  if (/^(\xef\xbb\xbf)?\s*<(\?xml|svg|!--|!DOCTYPE svg)/i.test(head)) return 'SVG or XML, which is not accepted';
  if (/^(\xef\xbb\xbf)?\s*<(html|!DOCTYPE)/i.test(head)) return 'it holds a web page';
  if (/^.{4}ftyp(hei[cx]|he[iv][csm]|mif1|msf1)/s.test(head)) return 'HEIC, which is not read; convert it to JPEG';
  if (/^[\t\n\r\x20-\x7e]*$/.test(head)) return 'it holds text';
  const bytes = [...head.slice(0, 4)].map(c => c.charCodeAt(0).toString(16).padStart(2, '0'));
  return `it begins with the bytes ${bytes.join(' ')}`;
}
