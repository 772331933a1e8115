/** overview.png: a contact sheet of the names that were found, each with a few of its images. */
import { join } from 'node:path';
import sharp, { type OverlayOptions } from 'sharp';
import { z } from 'zod';
import { S3aError } from '../errors.ts';
import { decodeImage } from '../images/decode.ts';
import { listImages } from '../images/source.ts';
import { readJson } from '../io/json.ts';
import { type Row, readTable } from '../io/table.ts';
import { UNKNOWN_LABEL } from './tables.ts';

export interface OverviewOptions {
  /** Names to show, those with the most images; default 12. */
  classes?: number;
  /** Images a name; default 8. */
  samples?: number;
  /** Folder that file names are relative to; default the one that the images in config.json give. */
  root?: string;
  /** Called after each image; throwing ends the drawing. */
  onProgress?: (done: number, total: number) => void;
}

/** Where things are, in pixels. */
export const LAYOUT = { margin: 24, head: 44, text: 232, thumbnail: 88, gap: 8 } as const;

/** A missing image; dark on the white sheet and not a colour that photographs are full of. */
const GREY = { r: 208, g: 215, b: 222 };
const FONT = "Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif";
/** Characters of a line of the text column, and its lines. */
const LINE = 20;
const LINES = 2;

const configSchema = z.object({ images: z.array(z.string()).min(1), recursive: z.boolean().optional() });

interface Found {
  name: string;
  rows: Row[];
}

/**
 * Draws one row a name, the largest first: the name, its number of images, and of each of its clusters in turn the most
 * confident image. An image that is gone or cannot be read any more is a grey square.
 * @param folder a run folder with labels.parquet
 * @returns a PNG of 8-bit RGB
 * @throws S3aError RUN when the run has no labels, and what reading labels.parquet or config.json throws
 */
export async function drawOverview(folder: string, options: OverviewOptions = {}): Promise<Buffer> {
  const { classes = 12, samples = 8, root = await rootOf(folder), onProgress } = options;
  const rows = await readTable(join(folder, 'labels.parquet'));
  if (rows.length === 0) throw new S3aError('RUN', `the run in ${folder} has no labels`, 'Finish it by s3a realign.');
  const found = byName(rows);
  const shown = found.slice(0, classes).map(({ name, rows }) => ({ name, rows, picks: pick(rows, samples) }));
  const { margin, head, text, thumbnail, gap } = LAYOUT;
  const width = 2 * margin + text + samples * (thumbnail + gap) - gap;
  const height = 2 * margin + head + shown.length * (thumbnail + gap) - gap;

  const total = shown.reduce((sum, { picks }) => sum + picks.length, 0);
  const thumbnails: OverlayOptions[] = [];
  for (const [i, { picks }] of shown.entries()) {
    // One after the other: a photograph of a hundred megapixels is 300 MB while it is open.
    for (const [j, file] of picks.entries()) {
      thumbnails.push({
        input: await thumbnailOf(join(root, file)),
        raw: { width: thumbnail, height: thumbnail, channels: 3 },
        left: margin + text + j * (thumbnail + gap),
        top: margin + head + i * (thumbnail + gap),
      });
      onProgress?.(thumbnails.length, total);
    }
  }
  const words = Buffer.from(lettering(width, height, rows.length, found.length, shown));
  return sharp({ create: { width, height, channels: 3, background: '#ffffff' } })
    .composite([{ input: words, left: 0, top: 0 }, ...thumbnails])
    .removeAlpha()
    .png({ compressionLevel: 9 })
    .toBuffer();
}

async function rootOf(folder: string): Promise<string> {
  const path = join(folder, 'config.json');
  const parsed = configSchema.safeParse(await readJson(path));
  if (!parsed.success) throw new S3aError('RUN', `${path}: ${parsed.error.issues[0].message}`);
  const { images, recursive } = parsed.data;
  // Images that are gone are no reason to show nothing.
  return listImages(images, { recursive }).then(
    ({ root }) => root,
    () => images[0],
  );
}

/** The names with their rows, most rows first, equal ones by name. */
function byName(rows: readonly Row[]): Found[] {
  const found = new Map<string, Row[]>();
  for (const row of rows) {
    const name = String(row.label);
    if (name === UNKNOWN_LABEL) continue;
    const others = found.get(name);
    if (others) others.push(row);
    else found.set(name, [row]);
  }
  return [...found]
    .map(([name, rows]) => ({ name, rows }))
    .sort((a, b) => b.rows.length - a.rows.length || (a.name < b.name ? -1 : 1));
}

/** The most confident image of every cluster, then the second of every cluster, and so on. */
function pick(rows: readonly Row[], samples: number): string[] {
  const seen = new Map<unknown, number>();
  return rows
    .map(row => ({ file: String(row.file_name), confidence: Number(row.confidence), cluster: row.cluster }))
    .sort((a, b) => b.confidence - a.confidence || (a.file < b.file ? -1 : 1))
    .map(({ file, cluster }) => {
      const turn = seen.get(cluster) ?? 0;
      seen.set(cluster, turn + 1);
      return { file, turn };
    })
    .sort((a, b) => a.turn - b.turn)
    .slice(0, samples)
    .map(({ file }) => file);
}

/** The middle square of an image, [thumbnail, thumbnail, 3]. */
async function thumbnailOf(path: string): Promise<Buffer> {
  const side = LAYOUT.thumbnail;
  const image = await decodeImage(path).catch(() => undefined);
  if (!image) return Buffer.alloc(side * side * 3, Uint8Array.of(GREY.r, GREY.g, GREY.b));
  const { data, width, height } = image;
  const square = Math.min(width, height);
  return sharp(data, { raw: { width, height, channels: 3 } })
    .extract({
      left: Math.floor((width - square) / 2),
      top: Math.floor((height - square) / 2),
      width: square,
      height: square,
    })
    .resize(side, side)
    .raw()
    .toBuffer();
}

function lettering(
  width: number,
  height: number,
  images: number,
  names: number,
  shown: readonly Pick<Found, 'name' | 'rows'>[],
): string {
  const { margin, head, text, thumbnail, gap } = LAYOUT;
  const more = names > shown.length ? `; the ${shown.length} with the most images` : '';
  const rows = shown.map(({ name, rows }, i) => {
    const lines = wrap(name);
    const middle = margin + head + i * (thumbnail + gap) + thumbnail / 2;
    const top = middle - 10 * lines.length + 4;
    const spans = lines.map((line, l) => `<text y="${top + 20 * l}" class="name">${escapeXml(line)}</text>`);
    return `${spans.join('')}<text y="${top + 20 * lines.length}">${counted(rows.length, 'image')}</text>`;
  });
  // The inner svg cuts off what is wider than the column.
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}">
<style>text { font: 13px ${FONT}; fill: #59636e } .name { font-size: 16px; font-weight: bold; fill: #1f2328 }</style>
<text x="${margin}" y="${margin + 18}">${counted(images, 'image')}, ${counted(names, 'name')}${more}</text>
<svg x="${margin}" y="0" width="${text - gap}" height="${height}" overflow="hidden">${rows.join('\n')}</svg>
</svg>`;
}

/** A name in at most two lines, broken at spaces where there are any; what is longer ends in an ellipsis. */
function wrap(name: string): string[] {
  const lines = [''];
  for (const word of name.trim().split(/\s+/)) {
    const together = lines.at(-1) === '' ? word : `${lines.at(-1)} ${word}`;
    if (lengthOf(together) <= LINE || lines.at(-1) === '') lines[lines.length - 1] = together;
    else lines.push(word);
  }
  const kept = lines.slice(0, LINES).map(line => cut(line, LINE));
  return lines.length > LINES ? [...kept.slice(0, -1), cut(`${kept.at(-1)}……`, LINE)] : kept;
}

function cut(text: string, most: number): string {
  const whole = text.replace(/…+$/, '…');
  return lengthOf(whole) <= most ? whole : `${[...whole].slice(0, most - 1).join('')}…`;
}

function lengthOf(text: string): number {
  return [...text].length;
}

/** Text that XML can hold: its own signs escaped, what it forbids (control characters, halves of pairs) replaced. */
function escapeXml(text: string): string {
  return text.replace(/[\p{Cc}\p{Cs}\ufffe\uffff]/gu, '\ufffd').replace(/[&<>"']/g, sign => `&#${sign.charCodeAt(0)};`);
}

function counted(n: number, noun: string): string {
  return `${n.toLocaleString('en-US')} ${noun}${n === 1 ? '' : 's'}`;
}
