/** The published figures (METHOD §6), beside which a table of the same protocol stands. */

/** Top-1 and clustering accuracy in % on the training split, ViT-B/16 of OpenAI, 20,071 names. */
export interface Published {
  top1: number;
  clustering?: number;
}

const SETS = [
  'stanford-dogs',
  'imagenet-100',
  'imagenet-1k',
  'living17',
  'nonliving26',
  'entity13',
  'entity30',
] as const;

/** `top-1/clustering` for each of the sets, by the line of our table that it belongs to. */
const LINES: Readonly<Record<string, string>> = {
  bound: '57.6/58.1 84.7/84.9 65.4/65.5 75.2/75.5 80.0/80.1 78.4/78.5 78.0/78.0',
  clip: '53.4/55.4 29.4/38.5 32.2/39.8 37.3/47.2 33.4/39.0 30.1/40.0 31.2/39.9',
  'must/student': '57.2/60.6 33.4/51.4 29.0/36.6 31.7/49.4 35.3/48.7 38.5/58.3 33.4/47.1',
  'kmeans-vote': '19.4 40.6 26.4 38.3 41.1 32.9 36.4',
  scd: '52.6/55.9 48.9/77.4 37.1/57.0 43.3/68.8 52.2/71.8 40.5/71.3 46.3/70.9',
  's3a/student': '58.9/62.2 52.1/82.8 42.4/63.2 48.3/75.6 56.2/76.0 45.2/76.9 50.4/76.1',
};

/** Where the figures come from. */
export const PUBLISHED_SOURCE = 'Zhang et al., AAAI 2024 (arXiv 2308.12960); ViT-B/16, 20,071 names, training split';

/** The published figures of a line of the table, where there are some. */
export function publishedFigures(protocol: string, method: string, part: string): Published | undefined {
  const at = (SETS as readonly string[]).indexOf(protocol);
  const line = LINES[part === '' ? method : `${method}/${part}`];
  if (at < 0 || line === undefined) return undefined;
  const [top1, clustering] = line.split(' ')[at].split('/').map(Number);
  return clustering === undefined ? { top1 } : { top1, clustering };
}
