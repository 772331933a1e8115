/** How far a benchmark is and how long it will still take. */
import type { CellResult, ScoredOutcome } from './cells.ts';
import type { Cell } from './plan.ts';

export interface Pace {
  /** A cell is done; 0 seconds for one that was there already or failed. */
  done(at: number, seconds: number): void;
  /** One line about a finished cell. */
  line(at: number, cell: Cell, result: { cell: CellResult; fresh: boolean }): string;
}

/** Times are expected as those of the same method before, or as the mean of all. */
export function createPace(cells: readonly Cell[]): Pace {
  const spent = new Map<string, { seconds: number; cells: number }>();
  const left = (from: number): number | undefined => {
    const all = [...spent.values()];
    if (all.length === 0) return undefined;
    const mean = all.reduce((sum, { seconds, cells: n }) => sum + seconds / n, 0) / all.length;
    return cells.slice(from).reduce((sum, { variant }) => {
      const own = spent.get(variant.method.name);
      return sum + (own ? own.seconds / own.cells : mean);
    }, 0);
  };
  return {
    done(at, seconds) {
      if (seconds === 0) return;
      const { name } = cells[at].variant.method;
      const before = spent.get(name) ?? { seconds: 0, cells: 0 };
      spent.set(name, { seconds: before.seconds + seconds, cells: before.cells + 1 });
    },
    line(at, { seed, variant, ablation }, { cell, fresh }) {
      const what = ablation === undefined ? variant.method.name : `${ablation}: ${variant.name}`;
      const last = cell.outcomes.at(-1) as ScoredOutcome;
      const figure = `top-1 ${(100 * last.train.accuracy[1]).toFixed(1)}`;
      const rest = left(at + 1);
      const ahead = rest === undefined || at + 1 === cells.length ? '' : `; about ${minutes(rest)} left`;
      const took = fresh ? minutes(cell.seconds) : 'done before';
      const part = last.part === '' ? '' : `${last.part} `;
      return `[${at + 1}/${cells.length}] ${what}, seed ${seed}: ${part}${figure}, ${took}${ahead}`;
    },
  };
}

function minutes(seconds: number): string {
  if (seconds < 100) return `${Math.round(seconds)} s`;
  const whole = Math.round(seconds / 60);
  return whole < 60 ? `${whole} min` : `${Math.floor(whole / 60)} h ${whole % 60} min`;
}
