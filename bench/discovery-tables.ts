/** The tables of docs/discovery.md, from what the bench measured. */
import { DRAW_GROUPS, DRAW_KINDS, type DrawKind } from './discovery-draws.ts';
import { MIXTURE_KINDS } from './discovery-mixture.ts';
import { calibrationError, poolTrust, type Scores, type Trust } from './discovery-scores.ts';
import type { Variant } from './discovery-variants.ts';

/** One method on one draw. */
export interface Measured {
  readonly method: string;
  readonly group: Variant['group'];
  readonly kind: string;
  readonly seed: number;
  readonly scores: Scores;
  /** Of methods whose confidences are judged. */
  readonly trust?: Trust;
}

const percent = (share: number): string => (100 * share).toFixed(1);
const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [line(head), line(head.map((_, i) => (i === 0 ? '---' : '--:'))), ...rows.map(line)].join('\n');

const KINDS = [...DRAW_KINDS, ...MIXTURE_KINDS];

const kindsOf = (rows: readonly Measured[]): DrawKind[] =>
  KINDS.filter(kind => rows.some(row => row.kind === kind.name));

/** Means over the kinds of draws that `wanted` names, each kind the mean of its seeds. */
function meanScores(rows: readonly Measured[], wanted: readonly string[]): Scores {
  const of = (key: keyof Scores): number =>
    mean(wanted.map(kind => mean(rows.filter(row => row.kind === kind).map(row => row.scores[key]))));
  return {
    top1: of('top1'),
    clusters: of('clusters'),
    recall: of('recall'),
    unknown: of('unknown'),
    names: of('names'),
    seconds: of('seconds'),
  };
}

/** Every kind of draw with the whole methods: top-1 / cluster accuracy / name recall. */
export function wholeTable(measured: readonly Measured[]): string {
  const rows = measured.filter(row => row.group === 'whole');
  const methods = [...new Set(rows.map(row => row.method))];
  return table(
    ['draws', ...methods],
    kindsOf(rows).map(({ name }) => [
      name,
      ...methods.map(method => {
        const { top1, clusters, recall } = meanScores(
          rows.filter(row => row.method === method),
          [name],
        );
        return [top1, clusters, recall].map(percent).join(' / ');
      }),
    ]),
  );
}

/** The methods of one group, or of all: top-1 by groups of draws, and the other columns over all. */
export function summaryTable(measured: readonly Measured[], group: Variant['group'] | undefined): string {
  const rows = measured.filter(row => group === undefined || row.group === group);
  const kinds = kindsOf(rows);
  const groups = DRAW_GROUPS.filter(name => kinds.some(kind => kind.group === name));
  return table(
    ['', ...groups, 'all draws', 'cluster accuracy', 'name recall', 'unknown', 'CPU seconds'],
    [...new Set(rows.map(row => row.method))].map(method => {
      const own = rows.filter(row => row.method === method && row.group === (group ?? row.group));
      const top1 = groups.map(name => {
        const wanted = kinds.filter(kind => kind.group === name).map(kind => kind.name);
        return percent(meanScores(own, wanted).top1);
      });
      const all = meanScores(
        own,
        kinds.map(kind => kind.name),
      );
      const rest = [all.top1, all.clusters, all.recall, all.unknown].map(percent);
      return [method, ...top1, ...rest, all.seconds.toFixed(2)];
    }),
  );
}

/** Calibration by kinds of draws and over all of them. */
export function trustTable(measured: readonly Measured[]): string {
  const judged = measured.filter(row => row.trust);
  const methods = [...new Set(judged.map(row => row.method))];
  const of = (rows: readonly Measured[]): string => {
    const { bins } = poolTrust(rows.map(row => row.trust!));
    const sum = (key: 'count' | 'confidence' | 'right'): number => bins.reduce((total, bin) => total + bin[key], 0);
    return [sum('confidence') / sum('count'), sum('right') / sum('count'), calibrationError(bins)]
      .map(percent)
      .join(' / ');
  };
  const body = [...kindsOf(judged).map(kind => kind.name), undefined].map(kind => [
    kind ?? 'all images of all draws',
    ...methods.map(method => of(judged.filter(row => row.method === method && (!kind || row.kind === kind)))),
  ]);
  return table(['draws', ...methods], body);
}

/** What `--min-confidence` leaves of a method's labels on draws whose names are partly missing, and on the others. */
export function thresholdTable(measured: readonly Measured[], method: string): string {
  const judged = measured.filter(row => row.method === method && row.group === 'whole' && row.trust);
  const missing = new Set(KINDS.filter(kind => kind.missing).map(kind => kind.name));
  const parts = [judged.filter(row => !missing.has(row.kind)), judged.filter(row => missing.has(row.kind))];
  const [plain, lacking] = parts.map(rows => (rows.length > 0 ? poolTrust(rows.map(row => row.trust!)) : undefined));
  const total = (trust: Trust): number => trust.thresholds[0].kept;
  return table(
    ['at least', 'labelled', 'of these right', 'labelled (names missing)', 'of these right', 'missing classes unknown'],
    judged[0].trust!.thresholds.map(({ least }, t) => [
      String(least),
      ...[plain, lacking].flatMap(trust => {
        if (!trust) return ['-', '-'];
        const { kept, right } = trust.thresholds[t];
        return [percent(kept / total(trust)), percent(right / kept)];
      }),
      lacking ? percent(lacking.thresholds[t].missingUnknown / lacking.thresholds[t].missing) : '-',
    ]),
  );
}
