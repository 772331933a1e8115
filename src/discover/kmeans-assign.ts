/** Nearest centres by skipping what cannot be nearest: Yinyang's bounds, an 8-bit filter, and exact products for the rest. */
import { type FilterTable, filterTable } from './kmeans-filter.ts';
import { GROUP } from './kmeans-kernel.ts';
import type { ImageSlice, QuantisedRows } from './kmeans-slice.ts';

/** Centres to assign images to. */
export interface AssignStep {
  readonly k: number;
  /** The centres that moved, all of them in a fresh run, and where they are now: [moved.length, width]. */
  readonly moved: Int32Array;
  readonly rows: Float32Array;
  /** Of the grid on which rows are summed. */
  readonly magic: number;
  /** Forget all labels: a new run begins. */
  readonly fresh: boolean;
  /** [groups·GROUP] the centres of each group, −1 where a group is not full; given when it is new. */
  readonly order?: Int32Array;
}

export interface Assigned {
  readonly sizes: Int32Array<ArrayBuffer>;
  /** Clusters that images left or joined, and the sums of the rows that came less those that went, on the grid. */
  readonly changed: Int32Array<ArrayBuffer>;
  readonly changes: Float64Array<ArrayBuffer>;
  /** Images whose cluster changed, and images that were compared with all centres. */
  readonly moved: number;
  readonly compared: number;
}

/** An image far from the centre of its cluster. */
export interface Far {
  readonly index: number;
  readonly label: number;
  /** Squared. */
  readonly distance: number;
}

// Scores that the filter makes at once: they stay in the processor's caches. Fewer images than the least are not worth a call.
const SCORES = 2 ** 19;
const [LEAST, MOST] = [256, 4096];
// Groups that are compared one by one before the filter is faster: so many, and one more for each of the latter number.
const [FEW, GROUPS_A_FEW] = [3, 15];
// When more than this share of the images twice needed every centre in spite of bounds, none are kept for some steps.
const HOPELESS = 0.95;
const REST = 6;
// They are also not begun with where the second nearest centre is typically less than this many typical moves farther
// away than the nearest, which is looked at for one image of so many.
const USEFUL = 1;
const LOOKED = 32;
// Up to so many slots all centres are compared with each other, for narrower margins.
const PAIRED = 256;

/**
 * The clusters of a slice's images under centres that move.
 *
 * The nearest centre is the one of the greatest x·c − |c|²/2 with the product as the kernel has it in float32, the lowest
 * index among equals. Whatever else is computed only decides which of these numbers are needed, with margins that cover
 * its rounding, so labels depend on the images and centres alone.
 *
 * Bounds are those of Yinyang k-means (Ding et al., ICML 2015): an upper one for the distance from an image's own centre,
 * a lower one for the other centres of each group. They are stored with what centres have moved since the start of the
 * run added or taken away, so a move changes none of them.
 */
export class Assigner {
  readonly labels: Int32Array<ArrayBuffer>;
  readonly #slice: ImageSlice;
  #groups = 0;
  #magic = 0;
  /** Centre of every slot, −1 for none, and slot of every centre. */
  #order: Int32Array = new Int32Array(0);
  #slotOf = new Int32Array(0);
  #centres = new Float32Array(0);
  #norms = new Float64Array(0);
  /** The largest squared length of an image. */
  #longest: number | undefined;
  /** |c|²/2 of every slot; infinite for none. */
  #halves = new Float64Array(0);
  #sizes = new Int32Array(0);
  /** Clusters that images left or joined. */
  #touched = new Uint8Array(0);
  // Addresses of the centres by slot, and of what was added to clusters.
  #table = 0;
  #sums = 0;
  /** Whether the bounds hold, and the steps for which none will be kept. */
  #bounded = false;
  #rest = 0;
  /** How much farther the second nearest centre typically is than the nearest, and how far a centre typically moved. */
  #gap = Number.POSITIVE_INFINITY;
  #typical = 0;
  readonly #gaps: number[] = [];
  /** The greatest distance between two centres, or infinity. */
  #spread = Number.POSITIVE_INFINITY;
  /** Steps in a row for which the bounds were of no use. */
  #failed = 0;
  readonly #upper: Float32Array;
  readonly #least: Float32Array;
  #lower = new Float32Array(0);
  #movedSlot = new Float64Array(0);
  #movedGroup = new Float64Array(0);
  #movedMost = 0;
  // What rounding may do to a score, and to a stored bound.
  #eta = 0;
  #round = 0;
  // The groups that one image is compared with: how many, which, their best centre, and their two best scores.
  #met = 0;
  #metGroup = new Int32Array(0);
  #metCentre = new Int32Array(0);
  #metBest = new Float64Array(0);
  #metSecond = new Float64Array(0);
  #score = 0;
  /** Slots of centres that may be the nearest, and room behind them. */
  #slots = new Int32Array(0);
  #products = new Float32Array(0);

  constructor(slice: ImageSlice) {
    this.#slice = slice;
    this.labels = new Int32Array(slice.count).fill(-1);
    this.#upper = new Float32Array(slice.count);
    this.#least = new Float32Array(slice.count);
  }

  /** Moves every image to its nearest centre. */
  async assign(step: AssignStep): Promise<Assigned> {
    const quantised = await this.#slice.quantised();
    this.#begin(step);
    const { count } = this.#slice;
    const keep = this.#rest === 0 && (this.#bounded || this.#gap > USEFUL * this.#typical);
    if (keep && this.#lower.length !== count * this.#groups) this.#lower = new Float32Array(count * this.#groups);
    const rows = new Int32Array(count);
    let [all, moved] = [0, 0];
    for (let i = 0; i < count; i++) {
      const change = this.#bounded ? this.#check(i) : -1;
      if (change < 0) rows[all++] = i;
      else moved += change;
    }
    this.#gaps.length = 0;
    const open = rows.subarray(0, all);
    moved += quantised ? await this.#filtered(open, quantised, keep) : this.#plain(open, keep);
    if (all === count && this.#gaps.length > 0) this.#gap = median(this.#gaps);
    if (this.#rest > 0) this.#rest--;
    if (this.#bounded) this.#failed = all > HOPELESS * count ? this.#failed + 1 : 0;
    if (this.#failed === 2) [this.#rest, this.#failed] = [REST, 0];
    this.#bounded = keep;
    return { ...this.#takeChanges(), sizes: this.#sizes.slice(), moved, compared: all };
  }

  /**
   * The images with the greatest squared distances from the centres [k, width] of their clusters, the lower index first
   * among equals. These centres are what the last assignment had in float32.
   */
  farthest(centres: Float64Array, count: number): Far[] {
    const { kernel, padded, norms } = this.#slice;
    const about = Float64Array.from(this.labels, (label, i) => {
      const slot = this.#slotOf[label];
      const score = kernel.dot(this.#slice.row(i), this.#table + 4 * padded * slot) - this.#halves[slot];
      return norms[i] - 2 * score;
    });
    // A distance that is exact must not be taken for smaller than another because these are not.
    const doubt =
      4 * this.#eta + this.#round * this.#round + 1e-5 * (about.reduce((a, b) => Math.max(a, b), 0) + this.#eta);
    const least = about.slice().sort()[Math.max(0, about.length - count)] - doubt;
    const found: Far[] = [];
    for (let i = 0; i < about.length; i++) {
      if (about[i] < least) continue;
      const row = this.#slice.values(i);
      let [distance, at] = [0, this.labels[i] * row.length];
      for (let d = 0; d < row.length; d++, at++) distance += (row[d] - centres[at]) ** 2;
      found.push({ index: i, label: this.labels[i], distance });
    }
    return found.sort((a, b) => b.distance - a.distance || a.index - b.index).slice(0, count);
  }

  /** What changed since the last call. */
  #takeChanges(): Pick<Assigned, 'changed' | 'changes'> {
    const { kernel, padded } = this.#slice;
    const changed = Int32Array.from([...this.#touched.keys()].filter(c => this.#touched[c] === 1));
    const changes = new Float64Array(changed.length * padded);
    changed.forEach((c, i) => {
      const sums = new Float64Array(kernel.memory.buffer, this.#sums + 8 * padded * c, padded);
      changes.set(sums, i * padded);
      sums.fill(0);
    });
    this.#touched.fill(0);
    return { changed, changes };
  }

  /** Takes over the centres, and adds to the bounds how far they have moved. */
  #begin({ k, moved, rows, fresh, order, magic }: AssignStep): void {
    const { width, padded, kernel, norms, scratch } = this.#slice;
    if (fresh) this.#start(k);
    this.#magic = magic;
    this.#products = new Float32Array(kernel.memory.buffer, scratch, GROUP);
    const moves = new Float64Array(this.#groups);
    const distances = new Array<number>(k).fill(0);
    moved.forEach((c, i) => {
      let [norm, shift] = [0, 0];
      for (let d = 0, from = i * width, to = c * width; d < width; d++, from++, to++) {
        const value = rows[from];
        norm += value * value;
        shift += (value - this.#centres[to]) ** 2;
        this.#centres[to] = value;
      }
      this.#norms[c] = norm;
      const distance = Math.sqrt(shift) * 1.000001;
      const slot = this.#slotOf[c];
      distances[c] = distance;
      this.#movedSlot[slot] += distance;
      const group = Math.floor(slot / GROUP);
      moves[group] = Math.max(moves[group], distance);
    });
    this.#typical = median(distances);
    moves.forEach((move, group) => {
      this.#movedGroup[group] += move;
    });
    this.#movedMost += moves.reduce((a, b) => Math.max(a, b), 0);
    if (order) this.#regroup(order);
    this.#place(order ? this.#slotOf.keys() : moved);
    const longest = this.#norms.reduce((a, b) => Math.max(a, b), 0);
    this.#longest ??= norms.reduce((a, b) => Math.max(a, b), 0);
    // Sums of padded/8 products in each lane, and a few more additions.
    this.#eta = (padded / 8 + 16) * 2 ** -24 * Math.sqrt(this.#longest * longest);
    this.#round = 1e-5 * Math.sqrt(this.#longest + longest);
    this.#spread = this.#widest((padded / 8 + 16) * 2 ** -24 * longest);
    // Stored bounds carry all movement; where it dwarfs the distances, float32 is too coarse for them.
    if (this.#movedMost > 50 * Math.sqrt(this.#longest + longest) || !this.#bounded) this.#forget();
  }

  /** Puts centres into their slots. */
  #place(centres: Iterable<number>): void {
    const { width, padded, kernel } = this.#slice;
    const table = new Float32Array(kernel.memory.buffer, this.#table, this.#groups * GROUP * padded);
    for (const c of centres) {
      table.set(this.#centres.subarray(c * width, (c + 1) * width), this.#slotOf[c] * padded);
      this.#halves[this.#slotOf[c]] = this.#norms[c] / 2;
    }
  }

  /** The greatest distance between two centres, or infinity where they are many; products are off by `eta` at most. */
  #widest(eta: number): number {
    const { kernel, padded, scratch } = this.#slice;
    if (this.#groups * GROUP > PAIRED) return Number.POSITIVE_INFINITY;
    const halves = this.#halves;
    let most = 0;
    for (let slot = 0; slot < halves.length; slot++) {
      if (this.#order[slot] < 0) continue;
      // Groups before the slot's own have been compared with it.
      for (let first = slot - (slot % GROUP); first < halves.length; first += GROUP) {
        kernel.dots(this.#table + 4 * padded * slot, this.#table + 4 * padded * first, scratch);
        for (let c = 0; c < GROUP; c++) {
          if (this.#order[first + c] < 0) continue;
          most = Math.max(most, 2 * (halves[slot] + halves[first + c] - this.#products[c]));
        }
      }
    }
    return Math.sqrt(most + 2 * eta) * 1.000001;
  }

  #start(k: number): void {
    const { kernel, padded, width } = this.#slice;
    const groups = Math.ceil(k / GROUP);
    this.#centres = new Float32Array(k * width);
    this.#norms = new Float64Array(k);
    this.#touched = new Uint8Array(k);
    this.#groups = groups;
    this.#sizes = new Int32Array(k);
    this.#slotOf = new Int32Array(k);
    this.#movedSlot = new Float64Array(groups * GROUP);
    this.#movedGroup = new Float64Array(groups);
    this.#slots = new Int32Array((groups + 1) * GROUP);
    this.#metGroup = new Int32Array(groups);
    this.#metCentre = new Int32Array(groups);
    this.#metBest = new Float64Array(groups);
    this.#metSecond = new Float64Array(groups);
    this.labels.fill(-1);
    this.#sums = this.#slice.reserve(8 * k * padded + 4 * groups * GROUP * padded);
    this.#table = this.#sums + 8 * k * padded;
    new Uint8Array(kernel.memory.buffer, this.#sums).fill(0);
    // The first step moves centres from single images to means, which no bound survives.
    this.#rest = 1;
    this.#failed = 0;
    this.#gap = Number.POSITIVE_INFINITY;
    this.#forget();
  }

  #regroup(order: Int32Array): void {
    this.#order = order;
    this.#halves = new Float64Array(order.length).fill(Number.POSITIVE_INFINITY);
    order.forEach((centre, slot) => {
      if (centre >= 0) this.#slotOf[centre] = slot;
    });
    this.#forget();
  }

  #forget(): void {
    this.#bounded = false;
    this.#movedSlot.fill(0);
    this.#movedGroup.fill(0);
    this.#movedMost = 0;
  }

  /** Settles an image by its bounds: 1 when its cluster changed, 0 when not, −1 when all centres must be looked at. */
  #check(i: number): number {
    const { kernel, norms, padded } = this.#slice;
    const slot = this.#slotOf[this.labels[i]];
    const least = this.#least[i] - this.#movedMost;
    const loose = this.#upper[i] + this.#movedSlot[slot];
    if (least > loose && (least - loose) * (least + loose) > 4 * this.#eta) return 0;
    const own = kernel.dot(this.#slice.row(i), this.#table + 4 * padded * slot) - this.#halves[slot];
    const upper = Math.max(0, norms[i] - 2 * own + 2 * this.#eta);
    // A centre at least this far away has a lower score.
    const far = Math.sqrt(upper + 4 * this.#eta);
    if (least > far) {
      this.#upper[i] = Math.sqrt(upper) + this.#round - this.#movedSlot[slot];
      return 0;
    }
    const [lower, moved, groups] = [this.#lower, this.#movedGroup, this.#groups];
    const few = FEW + Math.floor(groups / GROUPS_A_FEW);
    let rest = Number.POSITIVE_INFINITY;
    this.#met = 0;
    for (let g = 0, at = i * groups; g < groups; g++, at++) {
      const bound = lower[at] - moved[g];
      if (bound > far) {
        if (bound < rest) rest = bound;
      } else {
        if (this.#met === few) return -1;
        this.#metGroup[this.#met++] = g;
      }
    }
    for (let m = 0; m < this.#met; m++) this.#compare(i, m);
    const found = this.#best(own, this.labels[i]);
    if (found !== this.labels[i]) {
      // The old centre is now one of the others of its group.
      const group = Math.floor(slot / GROUP);
      const distance = this.#atLeast(i, own);
      const at = i * groups + group;
      lower[at] = Math.min(lower[at], distance + moved[group]);
      rest = Math.min(rest, distance);
    }
    this.#bound(i, found, rest);
    return this.#relabel(i, found);
  }

  /** Compares images with the groups that may hold their nearest centre by the 8-bit scores; returns how many moved. */
  async #filtered(rows: Int32Array, quantised: QuantisedRows, keep: boolean): Promise<number> {
    const { padded, width } = this.#slice;
    const { filter, mean, step } = quantised;
    if (rows.length === 0) return 0;
    const values = new Float64Array(width);
    const [order, centres] = [this.#order, this.#centres];
    const table = filterTable(this.#groups, GROUP, padded, slot => {
      if (order[slot] < 0) return undefined;
      let norm = 0;
      for (let d = 0, at = order[slot] * width; d < width; d++, at++) {
        const value = centres[at] - mean[d];
        values[d] = value;
        norm += value * value;
      }
      return { values, bias: -norm / 2 };
    });
    let moved = 0;
    const size = Math.max(LEAST, Math.min(MOST, Math.floor(SCORES / table.scales.length)));
    const gathered = new Uint8Array(Math.min(size, rows.length) * padded);
    const source = this.#slice.bytes(0, this.#slice.count);
    for (let start = 0; start < rows.length; start += size) {
      const chunk = rows.subarray(start, start + size);
      let bytes = source.subarray(chunk[0] * padded, (chunk[0] + chunk.length) * padded);
      if (chunk[chunk.length - 1] !== chunk[0] + chunk.length - 1) {
        bytes = gathered.subarray(0, chunk.length * padded);
        chunk.forEach((i, r) => {
          bytes.set(source.subarray(i * padded, (i + 1) * padded), r * padded);
        });
      }
      const found = await filter.runAll(bytes, chunk.length, step, table);
      for (let r = 0; r < chunk.length; r++) moved += this.#settle(chunk[r], found, r, table, quantised, keep);
    }
    return moved;
  }

  /** Settles one image by row r of the scores. */
  #settle(
    i: number,
    { best: scores, scores: members }: { best: Float32Array; scores: Float32Array },
    r: number,
    { length: farthest, error: coarsest, longest, bias }: FilterTable,
    quantised: QuantisedRows,
    keep: boolean,
  ): number {
    const groups = this.#groups;
    const base = r * groups;
    // |x − mean|² of float32 sums, downwards and upwards.
    const doubt = (this.#slice.padded / 4 + 16) * 2 ** -22;
    const square = quantised.squares[i] * (1 - doubt);
    const length = Math.sqrt(quantised.squares[i] * (1 + doubt));
    const slack = 1e-6 * (length * longest + bias);
    // What a score of the bytes is at most off.
    const off = quantised.errors[i] * farthest + length * coarsest + slack;
    let top = Number.NEGATIVE_INFINITY;
    for (let at = base; at < base + groups; at++) if (scores[at] > top) top = scores[at];
    // What the difference of two scores is at most off.
    const apartMost = Math.min(2 * farthest, this.#spread + 2 * coarsest);
    const sure = top - (quantised.errors[i] * apartMost + 2 * length * coarsest + 2 * slack) - 2 * this.#eta;
    this.#met = 0;
    let rest = Number.NEGATIVE_INFINITY;
    if (keep) {
      const [lower, moved, round] = [this.#lower, this.#movedGroup, this.#round];
      const nearest = square - 2 * off;
      for (let g = 0, at = i * groups; g < groups; g++, at++) {
        const score = scores[base + g];
        if (score >= sure) this.#metGroup[this.#met++] = g;
        else if (score > rest) rest = score;
        // Those met are bounded anew once they are compared.
        const distance = nearest - 2 * score;
        lower[at] = (distance > 0 ? Math.sqrt(distance) : 0) - round + moved[g];
      }
    } else {
      for (let g = 0; g < groups; g++) if (scores[base + g] >= sure) this.#metGroup[this.#met++] = g;
    }
    if (i % LOOKED === 0) this.#gaps.push(gapOf(scores, base, groups, square));
    const found = this.#chosen(i, members, r * groups * GROUP, sure);
    if (keep) {
      // Scores about the mean and scores about zero are half the difference of the squared lengths apart.
      const apart = (this.#slice.norms[i] - square) / 2;
      if (!Number.isFinite(this.#score)) this.#score = apart - doubt * quantised.squares[i] + top - off;
      this.#limit(members, r * groups * GROUP, found, apart + off);
      this.#bound(i, found, Math.sqrt(Math.max(0, square - 2 * (rest + off))) - this.#round);
    }
    return this.#relabel(i, found);
  }

  /**
   * The nearest of the members of the groups met whose scores reach `sure`. Its score is left in `#score`, or infinity when
   * there is no other, and nothing had to be computed.
   * @param base of the image's scores
   */
  #chosen(i: number, members: Float32Array, base: number, sure: number): number {
    const { kernel, padded, scratch } = this.#slice;
    const [groups, order, halves, slots, products] = [
      this.#groups,
      this.#order,
      this.#halves,
      this.#slots,
      this.#products,
    ];
    let count = 0;
    for (let m = 0; m < this.#met; m++) {
      const group = this.#metGroup[m];
      for (let c = 0, at = base + group; c < GROUP; c++, at += groups) {
        if (members[at] >= sure) slots[count++] = group * GROUP + c;
      }
    }
    if (count === 1) {
      this.#score = Number.POSITIVE_INFINITY;
      return order[slots[0]];
    }
    const row = this.#slice.row(i);
    const [table, stride, last] = [this.#table, 4 * padded, slots[count - 1]];
    let [most, best] = [Number.NEGATIVE_INFINITY, -1];
    for (let first = 0; first < count; first += GROUP) {
      // Places behind the last are filled with it, which changes nothing.
      for (let c = count; c < first + GROUP; c++) slots[c] = last;
      const [a, b, c, d] = [slots[first], slots[first + 1], slots[first + 2], slots[first + 3]];
      kernel.dotsAt(row, table + stride * a, table + stride * b, table + stride * c, table + stride * d, scratch);
      for (let p = 0; p < GROUP; p++) {
        const slot = slots[first + p];
        const score = products[p] - halves[slot];
        if (score > most || (score === most && order[slot] < best)) {
          most = score;
          best = order[slot];
        }
      }
    }
    this.#score = most;
    return best;
  }

  /** Limits for the two best scores of every group met, from the scores of the bytes and what these are at most off. */
  #limit(members: Float32Array, base: number, found: number, off: number): void {
    const [groups, order] = [this.#groups, this.#order];
    for (let m = 0; m < this.#met; m++) {
      const group = this.#metGroup[m];
      let [others, own] = [Number.NEGATIVE_INFINITY, false];
      for (let c = 0, at = base + group; c < GROUP; c++, at += groups) {
        if (order[group * GROUP + c] === found) own = true;
        else if (members[at] > others) others = members[at];
      }
      this.#metCentre[m] = own ? found : -1;
      this.#metBest[m] = others + off;
      this.#metSecond[m] = others + off;
    }
  }

  /** Compares images with all centres. */
  #plain(rows: Int32Array, keep: boolean): number {
    let moved = 0;
    for (const i of rows) {
      for (this.#met = 0; this.#met < this.#groups; this.#met++) {
        this.#metGroup[this.#met] = this.#met;
        this.#compare(i, this.#met);
      }
      const found = this.#best(Number.NEGATIVE_INFINITY, -1);
      if (keep) this.#bound(i, found, Number.POSITIVE_INFINITY);
      moved += this.#relabel(i, found);
    }
    return moved;
  }

  /** The two best scores of the group met as number m. */
  #compare(i: number, m: number): void {
    const { kernel, padded, scratch } = this.#slice;
    const first = this.#metGroup[m] * GROUP;
    kernel.dots(this.#slice.row(i), this.#table + 4 * padded * first, scratch);
    const products = this.#products;
    const [halves, order] = [this.#halves, this.#order];
    let [best, second, centre] = [Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY, -1];
    for (let slot = first, c = 0; c < GROUP; slot++, c++) {
      const score = products[c] - halves[slot];
      if (score > best || (score === best && order[slot] < centre)) {
        second = best;
        best = score;
        centre = order[slot];
      } else if (score > second) second = score;
    }
    this.#metBest[m] = best;
    this.#metSecond[m] = second;
    this.#metCentre[m] = centre;
  }

  /** The best centre met, or the given one of the given score; its score is left in `#score`. */
  #best(score: number, centre: number): number {
    let [most, best] = [score, centre];
    for (let m = 0; m < this.#met; m++) {
      const found = this.#metBest[m];
      if (found > most || (found === most && this.#metCentre[m] < best)) {
        most = found;
        best = this.#metCentre[m];
      }
    }
    this.#score = most;
    return best;
  }

  /** The distance from an image that a centre of some score has at least, less what storing may add. */
  #atLeast(i: number, score: number): number {
    return Math.sqrt(Math.max(0, this.#slice.norms[i] - 2 * score - 2 * this.#eta)) - this.#round;
  }

  /** Stores bounds of an image whose nearest centre is `best`; centres of groups that were not met are `rest` away or more. */
  #bound(i: number, best: number, rest: number): void {
    const [lower, moved] = [this.#lower, this.#movedGroup];
    let least = rest;
    for (let m = 0; m < this.#met; m++) {
      const score = this.#metCentre[m] === best ? this.#metSecond[m] : this.#metBest[m];
      const distance = this.#atLeast(i, score);
      const group = this.#metGroup[m];
      lower[i * this.#groups + group] = distance + moved[group];
      if (distance < least) least = distance;
    }
    this.#least[i] = least - this.#round + this.#movedMost;
    const upper = Math.sqrt(Math.max(0, this.#slice.norms[i] - 2 * this.#score + 2 * this.#eta));
    this.#upper[i] = upper + this.#round - this.#movedSlot[this.#slotOf[best]];
  }

  #relabel(i: number, label: number): number {
    const before = this.labels[i];
    if (before === label) return 0;
    const { kernel, padded } = this.#slice;
    const row = this.#slice.row(i);
    if (before >= 0) {
      kernel.add(row, this.#sums + 8 * padded * before, this.#magic, -1);
      this.#sizes[before]--;
      this.#touched[before] = 1;
    }
    kernel.add(row, this.#sums + 8 * padded * label, this.#magic, 1);
    this.#sizes[label]++;
    this.#touched[label] = 1;
    this.labels[i] = label;
    return 1;
  }
}

/** How much farther away the best centre of another group is than the nearest of all, about; from scores about the mean. */
function gapOf(scores: Float32Array, base: number, groups: number, square: number): number {
  let [best, second] = [Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (let at = base; at < base + groups; at++) {
    if (scores[at] > best) [best, second] = [scores[at], best];
    else if (scores[at] > second) second = scores[at];
  }
  return Math.sqrt(Math.max(0, square - 2 * second)) - Math.sqrt(Math.max(0, square - 2 * best));
}

function median(values: readonly number[]): number {
  return Float64Array.from(values).sort()[values.length >> 1];
}
