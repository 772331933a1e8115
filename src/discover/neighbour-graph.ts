/** A sparse symmetric graph of images, from the neighbours that each has chosen. */

/** Row by row: the neighbours of image i are `to[start[i]] … to[start[i + 1] − 1]`, by rising index. */
export interface NeighbourGraph {
  readonly start: Int32Array;
  readonly to: Int32Array;
  /** Weights of a row sum to 1, or the row is empty. */
  readonly weight: Float32Array;
}

/** The graph from each image's chosen neighbours, −1 for none, no one twice; `chosen` and `cosines` are [N, count]. */
export function graphOf(chosen: Int32Array, cosines: Float32Array, count: number): NeighbourGraph {
  const images = chosen.length / count;
  const counts = (at: number): boolean => chosen[at] >= 0 && chosen[at] !== Math.floor(at / count) && cosines[at] > 0;
  const by = chooserLists(chosen, images, counts);
  const own = new Int32Array(count);
  /** Calls `visit` for each neighbour of image i by rising index, with half a cosine for each of the two that chose. */
  const walk = (i: number, visit: (neighbour: number, weight: number) => void): void => {
    let size = 0;
    for (let at = i * count; at < (i + 1) * count; at++) {
      if (!counts(at)) continue;
      let place = size++;
      for (; place > 0 && chosen[own[place - 1]] > chosen[at]; place--) own[place] = own[place - 1];
      own[place] = at;
    }
    let [a, b] = [0, by.start[i]];
    while (a < size || b < by.start[i + 1]) {
      const mine = a < size ? chosen[own[a]] : Number.POSITIVE_INFINITY;
      const theirs = b < by.start[i + 1] ? Math.floor(by.at[b] / count) : Number.POSITIVE_INFINITY;
      let weight = 0;
      if (mine <= theirs) weight += cosines[own[a++]] / 2;
      if (theirs <= mine) weight += cosines[by.at[b++]] / 2;
      visit(Math.min(mine, theirs), weight);
    }
  };
  const start = new Int32Array(images + 1);
  for (let i = 0; i < images; i++) {
    start[i + 1] = start[i];
    walk(i, () => {
      start[i + 1]++;
    });
  }
  const to = new Int32Array(start[images]);
  const weight = new Float32Array(start[images]);
  for (let i = 0; i < images; i++) {
    let [end, sum] = [start[i], 0];
    walk(i, (neighbour, value) => {
      to[end] = neighbour;
      weight[end++] = value;
      sum += value;
    });
    for (let e = start[i]; e < end; e++) weight[e] /= sum;
  }
  return { start, to, weight };
}

/** The share of each image's neighbours, by weight, that has the same label; 1 for an image without neighbours. */
export function agreement({ start, to, weight }: NeighbourGraph, labels: Int32Array): Float64Array {
  return Float64Array.from(labels, (label, i) => {
    if (start[i] === start[i + 1]) return 1;
    let share = 0;
    for (let e = start[i]; e < start[i + 1]; e++) if (labels[to[e]] === label) share += weight[e];
    return Math.min(1, share);
  });
}

/** Where each image stands among the choices of others, by rising chooser. */
function chooserLists(
  chosen: Int32Array,
  images: number,
  counts: (at: number) => boolean,
): { start: Int32Array; at: Int32Array } {
  const start = new Int32Array(images + 1);
  for (let at = 0; at < chosen.length; at++) if (counts(at)) start[chosen[at] + 1]++;
  for (let i = 0; i < images; i++) start[i + 1] += start[i];
  const next = start.slice();
  const list = new Int32Array(start[images]);
  for (let at = 0; at < chosen.length; at++) if (counts(at)) list[next[chosen[at]]++] = at;
  return { start, at: list };
}
