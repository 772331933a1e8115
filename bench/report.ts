/** Rows of a bench: medians, ranges, and how they are printed. */

import { setTimeout as sleep } from 'node:timers/promises';

/** One measured quantity; larger is better. */
export interface Row {
  name: string;
  unit: string;
  /** Median of ours, and the least and greatest. */
  ours: number;
  oursRange: [number, number];
  /** The same of the peer, where it runs. */
  peer?: number;
  peerRange?: [number, number];
  peerName?: string;
  /** Ours by the peer's. */
  ratio?: number;
  /** Arithmetic of ours, 10⁹ floating-point operations a second. */
  gflops: number;
  /** Of the best plain product that either library reached in the same run. */
  shareOfPeak?: number;
  /** Bytes that nodes read and write, by those that a copy on the device reads and writes in that time (bench/gpu.ts). */
  shareOfCopy?: number;
}

export interface Summary {
  median: number;
  range: [number, number];
}

export function summarise(values: readonly number[]): Summary {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  const median = sorted.length % 2 === 1 ? sorted[Math.floor(middle)] : (sorted[middle - 1] + sorted[middle]) / 2;
  return { median, range: [sorted[0], sorted[sorted.length - 1]] };
}

/** Does work, with the seconds that it takes and the processor time of all threads of this process. */
export async function timed<T extends object>(work: () => Promise<T>): Promise<T & { seconds: number; cpu: number }> {
  const [before, start] = [process.cpuUsage(), performance.now()];
  const facts = await work();
  const seconds = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(before);
  return { ...facts, seconds, cpu: (user + system) / 1e6 };
}

/** The seconds of each of some runs, one after the other. */
export async function secondsOf(count: number, run: () => Promise<unknown>): Promise<number[]> {
  const seconds: number[] = [];
  for (let i = 0; i < count; i++) {
    const start = performance.now();
    await run();
    seconds.push((performance.now() - start) / 1000);
  }
  return seconds;
}

/**
 * Lets contestants take turns, round by round, so that a machine that slows down slows all; between them the threads and
 * processes of one come to rest.
 * @param mostSlower a peer that takes so many times as long as the fastest runs once; ours, named `ours`, always
 */
export async function contest<T extends { readonly seconds: number }>(
  rounds: number,
  contestants: ReadonlyMap<string, () => Promise<T>>,
  mostSlower = Infinity,
): Promise<Map<string, T[]>> {
  const times = new Map<string, T[]>([...contestants.keys()].map(name => [name, []]));
  const slow = new Set<string>();
  for (let round = 0; round < rounds; round++) {
    for (const [name, run] of contestants) {
      if (slow.has(name)) continue;
      times.get(name)!.push(await run());
      await sleep(200);
    }
    const least = Math.min(...[...times.values()].map(list => list[0].seconds));
    for (const [name, list] of times) if (list[0].seconds > mostSlower * least && name !== 'ours') slow.add(name);
  }
  return times;
}

/** Prints rows as a table, or as one JSON object. */
export function printRows(title: string, rows: readonly Row[], facts: Record<string, unknown>, json: boolean): void {
  if (json) {
    console.log(JSON.stringify({ bench: title, ...facts, rows }));
    return;
  }
  console.log(
    `${title}: ${Object.entries(facts)
      .map(([key, value]) => `${key} ${String(value)}`)
      .join(', ')}`,
  );
  const short = (value: number): string => value.toPrecision(3);
  const cell = (value: number | undefined, range?: [number, number]): string =>
    value === undefined ? '-' : `${short(value)}${range ? ` (${range.map(short).join('–')})` : ''}`;
  const peers = new Set(rows.flatMap(row => row.peerName ?? []));
  const peerName = peers.size === 1 ? [...peers][0] : 'peer';
  const table = [
    ['', 'unit', 'ours', peerName, 'ratio', 'GFLOP/s', 'of the best product', ...(peers.size > 1 ? ['peer'] : [])],
    ...rows.map(row => [
      row.name,
      row.unit,
      cell(row.ours, row.oursRange),
      cell(row.peer, row.peerRange),
      cell(row.ratio),
      cell(row.gflops),
      row.shareOfPeak === undefined ? '-' : `${Math.round(100 * row.shareOfPeak)} %`,
      ...(peers.size > 1 ? [row.peerName ?? '-'] : []),
    ]),
  ];
  const widths = table[0].map((_, i) => Math.max(...table.map(line => line[i].length)));
  for (const line of table)
    console.log(
      line
        .map((text, i) => text.padEnd(widths[i]))
        .join('  ')
        .trimEnd(),
    );
}
