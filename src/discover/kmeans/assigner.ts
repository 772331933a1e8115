/** Nearest centres by skipping what cannot be nearest: Yinyang's bounds, an 8-bit filter, and exact products for the rest. */
import { Bounds } from './bounds.ts';
import { CentreTable } from './centre-table.ts';
import type { FilterTable } from './filter.ts';
import { GROUP } from './kernel.ts';
import { type Changes, Members } from './members.ts';
import { MetGroups } from './met-groups.ts';
import { Shortlist } from './shortlist.ts';
import type { ImageSlice, QuantisedRows } from './slice.ts';

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
}

export interface Assigned extends Changes {
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

// When more than this share of the images twice needed every centre in spite of bounds, none are kept for some steps.
const HOPELESS = 0.95;
const REST = 6;
// They are also not begun with where the second nearest centre is typically less than this many typical moves farther
// away than the nearest, which is looked at for one image of so many.
const USEFUL = 1;
const LOOKED = 32;

/**
 * The clusters of a slice's images under centres that move.
 *
 * The nearest centre is the one of the greatest x·c − |c|²/2 with the product as the kernel has it in float32, the lowest
 * index among equals. Whatever else is computed only decides which of these numbers are needed, with margins that cover
 * its rounding, so labels depend on the images and centres alone.
 */
export class Assigner {
  readonly #slice: ImageSlice;
  #run: Run;
  /** The largest squared length of an image. */
  #longest: number | undefined;
  /** The steps for which no bounds will be kept, and those in a row for which they were of no use. */
  #rest = 0;
  #failed = 0;
  /** How much farther the second nearest centre typically is than the nearest. */
  #gap = Number.POSITIVE_INFINITY;
  readonly #gaps: number[] = [];

  constructor(slice: ImageSlice) {
    this.#slice = slice;
    this.#run = startRun(slice, 0, 0);
  }

  /** Cluster of every image, −1 before the first assignment of a run. */
  get labels(): Int32Array<ArrayBuffer> {
    return this.#run.members.labels;
  }

  /** Moves every image to its nearest centre. */
  async assign({ k, moved: movedCentres, rows: movedRows, magic, fresh }: AssignStep): Promise<Assigned> {
    const quantised = await this.#slice.quantised();
    const { count, norms } = this.#slice;
    if (fresh) this.#start(k, magic);
    const { table, bounds, members } = this.#run;
    this.#longest ??= norms.reduce((a, b) => Math.max(a, b), 0);
    const distances = table.move(movedCentres, movedRows);
    bounds.move(distances, this.#longest);
    const keep = this.#rest === 0 && (bounds.held || this.#gap > USEFUL * median(distances));
    if (keep) {
      table.group();
      bounds.prepare();
    }
    const rows = new Int32Array(count);
    let [all, moved] = [0, 0];
    for (let i = 0; i < count; i++) {
      const change = bounds.held ? this.#check(i) : -1;
      if (change < 0) rows[all++] = i;
      else moved += change;
    }
    this.#gaps.length = 0;
    const open = rows.subarray(0, all);
    moved += quantised ? await this.#filtered(open, quantised, keep) : this.#plain(open, keep);
    if (all === count && this.#gaps.length > 0) this.#gap = median(this.#gaps);
    if (this.#rest > 0) this.#rest--;
    if (bounds.held) this.#failed = all > HOPELESS * count ? this.#failed + 1 : 0;
    if (this.#failed === 2) [this.#rest, this.#failed] = [REST, 0];
    bounds.held = keep;
    return { ...members.takeChanges(), moved, compared: all };
  }

  /**
   * The images with the greatest squared distances from the centres [k, width] of their clusters, the lower index first
   * among equals. These centres are what the last assignment had in float32.
   */
  farthest(centres: Float64Array, count: number): Far[] {
    const { norms } = this.#slice;
    const { table, bounds } = this.#run;
    const { eta, round } = bounds;
    const about = Float64Array.from(this.labels, (label, i) => norms[i] - 2 * table.score(i, table.slotOf[label]));
    // A distance that is exact must not be taken for smaller than another because these are not.
    const doubt = 4 * eta + round * round + 1e-5 * (about.reduce((a, b) => Math.max(a, b), 0) + eta);
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

  #start(k: number, magic: number): void {
    this.#run = startRun(this.#slice, k, magic);
    // The first step moves centres from single images to means, which no bound survives.
    this.#rest = 1;
    this.#failed = 0;
    this.#gap = Number.POSITIVE_INFINITY;
  }

  /** Settles an image by its bounds: 1 when its cluster changed, 0 when not, −1 when all centres must be looked at. */
  #check(i: number): number {
    const { met, bounds, members } = this.#run;
    const label = members.labels[i];
    const verdict = bounds.look(i, label, met);
    if (verdict !== 'groups') return verdict === 'same' ? 0 : -1;
    met.compare(i);
    const nearest = met.nearest(bounds.own, label);
    if (nearest !== label) bounds.leave(i, label, bounds.own, met);
    bounds.note(i, nearest, met.score, met);
    return members.move(i, nearest);
  }

  /** Compares images with the centres that may be their nearest by the 8-bit scores; returns how many moved. */
  async #filtered(rows: Int32Array, quantised: QuantisedRows, keep: boolean): Promise<number> {
    if (rows.length === 0) return 0;
    const { padded } = this.#slice;
    const { shortlist, bounds, members } = this.#run;
    const { filter, mean, step } = quantised;
    const centres = this.#run.table.asBytes(mean);
    const { table } = centres;
    const slots = table.scales.length;
    let gathered: Uint8Array | undefined;
    let moved = 0;
    for (let start = 0; start < rows.length; start += shortlist.size) {
      const chunk = rows.subarray(start, start + shortlist.size);
      const span = chunk[chunk.length - 1] + 1 - chunk[0];
      let bytes = this.#slice.bytes(chunk[0], span);
      if (span !== chunk.length) {
        const source = bytes;
        gathered ??= new Uint8Array(Math.min(shortlist.size, rows.length) * padded);
        bytes = gathered.subarray(0, chunk.length * padded);
        for (let r = 0; r < chunk.length; r++) {
          const from = (chunk[r] - chunk[0]) * padded;
          bytes.set(source.subarray(from, from + padded), r * padded);
        }
      }
      const scores = shortlist.scores.subarray(0, chunk.length * slots);
      const best = keep ? await filter.best(bytes, chunk.length, step, table, scores) : undefined;
      if (!best) await filter.all(bytes, chunk.length, step, table, scores);
      shortlist.list(chunk, centres, quantised, bounds.eta);
      for (let r = 0; r < chunk.length; r++) {
        const nearest = shortlist.nearest(r);
        if (best) this.#bound(chunk[r], r, nearest, best, table, quantised);
        moved += members.move(chunk[r], nearest);
      }
      for (let r = 0; r < chunk.length; r += LOOKED) {
        this.#gaps.push(gapOf(scores, r * slots, (r + 1) * slots, quantised.squares[chunk[r]]));
      }
    }
    return moved;
  }

  /** Bounds of image i, whose nearest centre is known, from row r of the scores and of the best ones of all groups. */
  #bound(
    i: number,
    r: number,
    nearest: number,
    best: Float32Array,
    { length: farthest, error: coarsest, longest, bias }: FilterTable,
    { squares, errors, doubt }: QuantisedRows,
  ): void {
    const { table, met, bounds, shortlist } = this.#run;
    const { groups, slotOf } = table;
    const square = squares[i] * (1 - doubt);
    const length = Math.sqrt(squares[i] * (1 + doubt));
    // What a single score is at most off.
    const off = errors[i] * farthest + length * coarsest + 1e-6 * (length * longest + bias);
    const own = Math.floor(slotOf[nearest] / GROUP);
    const rest = bounds.limit(i, best, r * groups, own, square, off);
    // Scores about the mean and scores about zero are half the difference of the squared lengths apart.
    const shift = (this.#slice.norms[i] - square) / 2;
    // Where nothing had to be computed the nearest centre is the best of its group by the bytes, too.
    const least = shift - doubt * squares[i] + best[r * groups + own] - off;
    met.limit(own, shortlist.scores, r * groups * GROUP, nearest, shift + off);
    met.rest = distance(square, rest + off) - bounds.round;
    bounds.note(i, nearest, Number.isFinite(shortlist.score) ? shortlist.score : least, met);
  }

  /** Compares images with all centres. */
  #plain(rows: Int32Array, keep: boolean): number {
    const { met, table, bounds, members } = this.#run;
    let moved = 0;
    for (const i of rows) {
      for (let g = 0; g < table.groups; g++) met.group[g] = g;
      met.count = table.groups;
      met.rest = Number.POSITIVE_INFINITY;
      met.compare(i);
      const nearest = met.nearest(Number.NEGATIVE_INFINITY, -1);
      if (keep) bounds.note(i, nearest, met.score, met);
      moved += members.move(i, nearest);
    }
    return moved;
  }
}

/** What belongs to one run of k-means. */
interface Run {
  readonly members: Members;
  readonly table: CentreTable;
  readonly bounds: Bounds;
  readonly met: MetGroups;
  readonly shortlist: Shortlist;
}

function startRun(slice: ImageSlice, k: number, magic: number): Run {
  const { kernel, padded } = slice;
  const slots = Math.ceil(k / GROUP) * GROUP;
  const [sums, centres] = [Members.room(k, padded), CentreTable.room(k, padded)];
  const address = slice.reserve(sums + centres + Shortlist.room(slice, slots));
  new Uint8Array(kernel.memory.buffer, address, sums + centres).fill(0);
  const table = new CentreTable(slice, k, address + sums);
  return {
    members: new Members(slice, k, address, magic),
    table,
    bounds: new Bounds(slice, table),
    met: new MetGroups(slice, table),
    shortlist: new Shortlist(slice, table, address + sums + centres),
  };
}

/** How much farther away the second nearest centre is than the nearest, about; from scores about the mean. */
function gapOf(scores: Float32Array, start: number, end: number, square: number): number {
  let [best, second] = [Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (let at = start; at < end; at++) {
    const score = scores[at];
    if (score > best) {
      second = best;
      best = score;
    } else if (score > second) second = score;
  }
  return distance(square, second) - distance(square, best);
}

/** The distance that belongs to a score, both about the mean, from |x − mean|². */
const distance = (square: number, score: number): number => Math.sqrt(Math.max(0, square - 2 * score));

function median(values: ArrayLike<number>): number {
  return Float64Array.from(values).sort()[values.length >> 1];
}
