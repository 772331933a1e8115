/** Centres in groups of near neighbours, so that a group can be skipped as a whole. */
import { GROUP } from './kernel.ts';

/** Groups by the centres' numbers, for centres of which nothing is known yet. */
export function plainOrder(k: number): Int32Array {
  return Int32Array.from({ length: Math.ceil(k / GROUP) * GROUP }, (_, slot) => (slot < k ? slot : -1));
}

/**
 * Groups by halving along the line between two far centres, again and again.
 * @param centres [k, width]
 * @returns [⌈k / GROUP⌉·GROUP] centres by group, −1 where the last groups are not full
 */
export function groupOrder(centres: Float32Array, width: number): Int32Array {
  const k = centres.length / width;
  const order = plainOrder(k).fill(-1);
  const row = (c: number): Float32Array => centres.subarray(c * width, (c + 1) * width);
  const halve = (members: Int32Array, slot: number): void => {
    if (members.length <= GROUP) {
      order.set(members, slot);
      return;
    }
    const mean = new Float64Array(width);
    for (const c of members) {
      const values = row(c);
      for (let d = 0; d < width; d++) mean[d] += values[d] / members.length;
    }
    const from = row(farthest(members, mean, row));
    const to = row(farthest(members, from, row));
    const along = new Map<number, number>();
    for (const c of members) {
      const values = row(c);
      let sum = 0;
      for (let d = 0; d < width; d++) sum += values[d] * (to[d] - from[d]);
      along.set(c, sum);
    }
    const sorted = members.slice().sort((a, b) => along.get(a)! - along.get(b)! || a - b);
    const half = Math.ceil(Math.ceil(members.length / GROUP) / 2) * GROUP;
    halve(sorted.subarray(0, half), slot);
    halve(sorted.subarray(half), slot + half);
  };
  halve(
    Int32Array.from({ length: k }, (_, c) => c),
    0,
  );
  return order;
}

function farthest(members: Int32Array, from: ArrayLike<number>, row: (c: number) => Float32Array): number {
  let [most, found] = [-1, members[0]];
  for (const c of members) {
    const values = row(c);
    let distance = 0;
    for (let d = 0; d < values.length; d++) distance += (values[d] - from[d]) ** 2;
    if (distance > most) [most, found] = [distance, c];
  }
  return found;
}
