/**
 * The bounds of Yinyang k-means (Ding et al., ICML 2015): for every image an upper one for the distance from its own
 * centre, and a lower one for the other centres of each group.
 *
 * They are stored with what centres have moved since the start of the run added or taken away, so a move changes none.
 */
import { type CentreTable, productError } from './centre-table.ts';
import { GROUP } from './kernel.ts';
import type { MetGroups } from './met-groups.ts';
import type { ImageSlice } from './slice.ts';

// Groups that are compared one by one before the filter is faster: so many, and one more for each of the latter number.
const [FEW, GROUPS_A_FEW] = [3, 15];

/** What bounds say of an image: its centre is the nearest, the groups met may hold a nearer one, or too many may. */
export type Verdict = 'same' | 'groups' | 'many';

export class Bounds {
  /** Whether there are any. */
  held = false;
  /** What rounding may do to a score. */
  eta = 0;
  /** The score of the image last looked at, when it had to be computed. */
  own = 0;
  readonly #slice: ImageSlice;
  readonly #table: CentreTable;
  readonly #upper: Float32Array;
  readonly #least: Float32Array;
  #lower = new Float32Array(0);
  readonly #movedSlot: Float64Array;
  readonly #movedGroup: Float64Array;
  #movedMost = 0;
  // What rounding may do to a stored bound.
  #round = 0;

  constructor(slice: ImageSlice, table: CentreTable) {
    this.#slice = slice;
    this.#table = table;
    this.#upper = new Float32Array(slice.count);
    this.#least = new Float32Array(slice.count);
    this.#movedSlot = new Float64Array(table.groups * GROUP);
    this.#movedGroup = new Float64Array(table.groups);
  }

  /**
   * The table's centres have moved.
   * @param distances [k] how far at most
   * @param longest the greatest squared length of an image
   */
  move(distances: Float64Array, longest: number): void {
    const { groups, slotOf } = this.#table;
    const moves = new Float64Array(groups);
    distances.forEach((distance, c) => {
      const slot = slotOf[c];
      const group = Math.floor(slot / GROUP);
      this.#movedSlot[slot] += distance;
      moves[group] = Math.max(moves[group], distance);
    });
    moves.forEach((move, group) => {
      this.#movedGroup[group] += move;
    });
    this.#movedMost += moves.reduce((a, b) => Math.max(a, b), 0);
    const sizes = longest + this.#table.longest;
    this.eta = productError(this.#slice.padded, Math.sqrt(longest * this.#table.longest));
    this.#round = 1e-5 * Math.sqrt(sizes);
    // Stored bounds carry all movement; where it dwarfs the distances, float32 is too coarse for them.
    if (!this.held || this.#movedMost > 50 * Math.sqrt(sizes)) this.#forget();
  }

  /** Room for bounds of every image. */
  prepare(): void {
    const size = this.#slice.count * this.#table.groups;
    if (this.#lower.length !== size) this.#lower = new Float32Array(size);
  }

  /** Looks whether bounds settle an image; where they leave groups in doubt, those are met. */
  look(i: number, label: number, met: MetGroups): Verdict {
    const slot = this.#table.slotOf[label];
    const least = this.#least[i] - this.#movedMost;
    const loose = this.#upper[i] + this.#movedSlot[slot];
    if (least > loose && (least - loose) * (least + loose) > 4 * this.eta) return 'same';
    this.own = this.#table.score(i, slot);
    const upper = Math.max(0, this.#slice.norms[i] - 2 * this.own + 2 * this.eta);
    // A centre at least this far away has a lower score.
    const far = Math.sqrt(upper + 4 * this.eta);
    if (least > far) {
      this.#upper[i] = Math.sqrt(upper) + this.#round - this.#movedSlot[slot];
      return 'same';
    }
    const [lower, moved, groups] = [this.#lower, this.#movedGroup, this.#table.groups];
    const few = FEW + Math.floor(groups / GROUPS_A_FEW);
    let rest = Number.POSITIVE_INFINITY;
    met.count = 0;
    for (let g = 0, at = i * groups; g < groups; g++, at++) {
      const bound = lower[at] - moved[g];
      if (bound > far) {
        if (bound < rest) rest = bound;
      } else {
        if (met.count === few) return 'many';
        met.group[met.count++] = g;
      }
    }
    met.rest = rest;
    return 'groups';
  }

  /**
   * Lower bounds of all groups but `own` from their best scores, which are at most `off` wrong; `square` is |x − mean|² at
   * least.
   * @param base of the image's scores
   * @returns the greatest of these scores
   */
  limit(i: number, best: Float32Array, base: number, own: number, square: number, off: number): number {
    const [lower, moved, round, groups] = [this.#lower, this.#movedGroup, this.#round, this.#table.groups];
    const nearest = square - 2 * off;
    let rest = Number.NEGATIVE_INFINITY;
    for (let g = 0, at = i * groups; g < groups; g++, at++) {
      const score = best[base + g];
      const distance = nearest - 2 * score;
      lower[at] = (distance > 0 ? Math.sqrt(distance) : 0) - round + moved[g];
      if (score > rest && g !== own) rest = score;
    }
    return rest;
  }

  /** An image leaves a centre of the given score: it becomes one of the others of its group. */
  leave(i: number, label: number, score: number, met: MetGroups): void {
    const group = Math.floor(this.#table.slotOf[label] / GROUP);
    const distance = this.#atLeast(i, score);
    const at = i * this.#table.groups + group;
    this.#lower[at] = Math.min(this.#lower[at], distance + this.#movedGroup[group]);
    met.rest = Math.min(met.rest, distance);
  }

  /** Notes the bounds of an image whose nearest centre has a score, from the groups met and the distance of the rest. */
  note(i: number, nearest: number, score: number, met: MetGroups): void {
    let least = met.rest;
    for (let m = 0; m < met.count; m++) {
      const distance = this.#atLeast(i, met.centre[m] === nearest ? met.second[m] : met.best[m]);
      const group = met.group[m];
      this.#lower[i * this.#table.groups + group] = distance + this.#movedGroup[group];
      if (distance < least) least = distance;
    }
    this.#least[i] = least - this.#round + this.#movedMost;
    const upper = Math.sqrt(Math.max(0, this.#slice.norms[i] - 2 * score + 2 * this.eta));
    this.#upper[i] = upper + this.#round - this.#movedSlot[this.#table.slotOf[nearest]];
  }

  /** What was rounded off may be this much of a stored bound. */
  get round(): number {
    return this.#round;
  }

  /** The distance from an image that a centre of some score has at least, less what storing may add. */
  #atLeast(i: number, score: number): number {
    return Math.sqrt(Math.max(0, this.#slice.norms[i] - 2 * score - 2 * this.eta)) - this.#round;
  }

  #forget(): void {
    this.held = false;
    this.#movedSlot.fill(0);
    this.#movedGroup.fill(0);
    this.#movedMost = 0;
  }
}
