/** A text cut into the pieces of a unigram model, as sentencepiece cuts it: the most probable cut. */

export interface UnigramModel {
  /** Pieces with their log probabilities, by id. */
  readonly vocabulary: readonly (readonly [piece: string, score: number])[];
  readonly unknown: number;
  /** Ids that never stand for a part of a text: control pieces, and the pieces of bytes. */
  readonly reserved: ReadonlySet<number>;
  /** Ids of the 256 bytes, when characters without a piece become their bytes. */
  readonly bytes?: readonly number[];
}

/** How much less than the least probable piece a character without a piece counts. */
const UNKNOWN_PENALTY = 10;

/** More than any code point, so that a node and a character make one key. */
const CHARACTERS = 0x200000;

/**
 * The segmentation by a model: normalised text → ids. Characters in a row that have no piece are one unknown token, or, with
 * `bytes`, a token a byte (sentencepiece's `Model::EncodeOptimized`, in its single precision).
 */
export function createUnigram({ vocabulary, unknown, reserved, bytes }: UnigramModel): (text: string) => number[] {
  // A trie: the nodes are numbers, its edges one map.
  const edges = new Map<number, number>();
  const pieceAt = [-1];
  let lowest = 0;
  vocabulary.forEach(([piece, score], id) => {
    if (reserved.has(id) || id === unknown || piece === '') return;
    lowest = Math.min(lowest, score);
    let node = 0;
    for (const character of piece) {
      const key = node * CHARACTERS + character.codePointAt(0)!;
      node = edges.get(key) ?? pieceAt.push(-1) - 1;
      edges.set(key, node);
    }
    pieceAt[node] = id;
  });
  const scores = Float32Array.from(vocabulary, ([, score]) => score);
  const unknownScore = Math.fround(lowest - UNKNOWN_PENALTY);

  return text => {
    const points = Array.from(text, character => character.codePointAt(0)!);
    // For every end: the score of the best cut up to it, the last piece of that cut, and where the piece starts.
    const best = new Float32Array(points.length + 1);
    const last = new Int32Array(points.length + 1);
    const from = new Int32Array(points.length + 1).fill(-1);
    const offer = (start: number, end: number, id: number, score: number): void => {
      const candidate = Math.fround(best[start] + score);
      if (from[end] >= 0 && !(candidate > best[end])) return;
      best[end] = candidate;
      last[end] = id;
      from[end] = start;
    };
    for (let start = 0; start < points.length; start++) {
      let node: number | undefined = 0;
      let single = false;
      for (let end = start + 1; end <= points.length; end++) {
        node = edges.get(node * CHARACTERS + points[end - 1]);
        if (node === undefined) break;
        const id = pieceAt[node];
        if (id < 0) continue;
        offer(start, end, id, scores[id]);
        single ||= end === start + 1;
      }
      if (!single) offer(start, start + 1, unknown, unknownScore);
    }
    const ids: number[] = [];
    for (let end = points.length; end > 0; end = from[end]) {
      if (last[end] !== unknown) ids.push(last[end]);
      else if (bytes) ids.push(...[...Buffer.from(String.fromCodePoint(points[end - 1]))].reverse().map(b => bytes[b]));
      else if (ids.at(-1) !== unknown) ids.push(unknown);
    }
    return ids.reverse();
  };
}
