/** Which meaning of a name its images have, where a name has several: "crane", the bird or the machine. */
import { type Rows, rowsOf } from '../discover/row-pass.ts';
import type { Meaning, VocabularyEntry } from '../vocab/vocabulary.ts';

/** Unit or plain text features, [texts.length, D] flat. */
type EncodeTexts = (texts: string[]) => Promise<Float32Array>;

// Images whose features are in memory at once.
const CHUNK = 65_536;

/**
 * The id of each label's synset: of several, the one whose definition is nearest to the mean of the label's images; without
 * texts to compare them by, the first, which in WordNet is the most frequent one.
 * @param features [N, D] unit rows
 * @param labels [N] vocabulary indices, −1 for none
 * @returns by vocabulary index; a name without an id is not in it
 */
export async function synsetsOf(
  features: Float32Array | Rows,
  width: number,
  labels: Int32Array,
  entries: readonly VocabularyEntry[],
  encodeTexts?: EncodeTexts,
): Promise<ReadonlyMap<number, string>> {
  const found = [...new Set(labels)].filter(label => label >= 0).sort((a, b) => a - b);
  const senses = new Map(found.map(label => [label, entries[label].synsets.filter(({ id }) => id !== undefined)]));
  const open = encodeTexts ? found.filter(label => senses.get(label)!.length > 1) : [];
  const chosen = new Map<number, string>();
  for (const [label, [first]] of senses) if (first) chosen.set(label, first.id!);
  if (!encodeTexts || open.length === 0) return chosen;
  const sums = await sumsOf(rowsOf(features, width, 'image features'), labels, new Set(open));
  for (const label of open) {
    const meanings = senses.get(label)!;
    const texts = await encodeTexts(meanings.map(meaning => describe(entries[label].name, meaning)));
    let best = { at: 0, cosine: Number.NEGATIVE_INFINITY };
    meanings.forEach((_, at) => {
      const cosine = cosineOf(texts.subarray(at * width, (at + 1) * width), sums.get(label)!);
      if (cosine > best.cosine) best = { at, cosine };
    });
    chosen.set(label, meanings[best.at].id!);
  }
  return chosen;
}

function describe(name: string, { gloss, synonyms }: Meaning): string {
  return `a photo of a ${name}, ${gloss ?? synonyms.join(', ')}`;
}

/** The sum of the features of every wanted label. */
async function sumsOf(rows: Rows, labels: Int32Array, wanted: ReadonlySet<number>): Promise<Map<number, Float64Array>> {
  const sums = new Map([...wanted].map(label => [label, new Float64Array(rows.width)]));
  for (let start = 0; start < rows.count; start += CHUNK) {
    const end = Math.min(start + CHUNK, rows.count);
    const values = await rows.read(start, end);
    for (let i = start; i < end; i++) {
      const sum = sums.get(labels[i]);
      if (sum) for (let d = 0; d < rows.width; d++) sum[d] += values[(i - start) * rows.width + d];
    }
  }
  return sums;
}

function cosineOf(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [dot, aa] = [0, 0];
  for (let d = 0; d < a.length; d++) {
    dot += a[d] * b[d];
    aa += a[d] * a[d];
  }
  return dot / Math.sqrt(aa || 1);
}
