/** What became of the images of each true class. */

export interface ClassReport {
  truth: string;
  images: number;
  correct: number;
  /** Share of its images that are right: the accuracy of the class. */
  recall: number;
  /** Share of the images with this name that are of this class; 0 when there are none. */
  precision: number;
  /** Harmonic mean of both; 0 when none is right. */
  f1: number;
  /** The commonest predicted names, the right one included, at most five; then by name. */
  predicted: { name: string; images: number }[];
}

/** One report for each true class, by name, with all of its predicted names; both lists are normalised names of equal length. */
export function classReports(names: readonly string[], truth: readonly string[]): ClassReport[] {
  const counts = new Map<string, Map<string, number>>();
  const given = new Map<string, number>();
  for (const [i, own] of truth.entries()) {
    let row = counts.get(own);
    if (!row) {
      row = new Map();
      counts.set(own, row);
    }
    row.set(names[i], (row.get(names[i]) ?? 0) + 1);
    given.set(names[i], (given.get(names[i]) ?? 0) + 1);
  }
  return [...counts]
    .sort(([a], [b]) => compare(a, b))
    .map(([own, row]) => {
      const images = [...row.values()].reduce((total, count) => total + count, 0);
      // An empty text is no name, and never right.
      const correct = own === '' ? 0 : (row.get(own) ?? 0);
      const named = given.get(own) ?? 0;
      return {
        truth: own,
        images,
        correct,
        recall: correct / images,
        precision: named > 0 ? correct / named : 0,
        f1: (2 * correct) / (images + named),
        predicted: [...row]
          .map(([name, count]) => ({ name, images: count }))
          .sort((a, b) => b.images - a.images || compare(a.name, b.name)),
      };
    });
}

/** By code unit, so that the order does not depend on the machine's language. */
export function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
