/** Whether the peak of a silhouette curve means anything: it must stand out of the curve's own error on both sides. */

/** A number of clusters that was tried, with the silhouettes of the images that were judged, the same for every k. */
export interface Judged {
  readonly k: number;
  readonly silhouette: number;
  readonly samples: Float64Array;
}

/** What the curve says about its peak. */
export interface Verdict {
  /**
   * The peak does not stand out: on one side or both the curve falls by no more than its error, or nothing was tried there
   * because the peak is an end of the range.
   */
  readonly flat: boolean;
  /** The least and the greatest k of the curve is the peak: the range may be too small. */
  readonly edge: boolean;
  /** How far the curve falls from its peak on the side where it falls less; 0 at an edge. */
  readonly rise: number;
  /** The standard error of that difference. */
  readonly error: number;
}

// Differences of so many standard errors are taken for real: the peak is the largest of dozens of values.
const ERRORS = 4;

/**
 * The verdict on the peak at `k`. The error of a difference between two numbers of clusters is that of the mean of paired
 * differences, as the same images are judged, together with the roughness of the curve: k-means that starts elsewhere ends
 * elsewhere.
 * @param points by rising k
 */
export function verdictOf(points: readonly Judged[], k: number): Verdict {
  const peak = points.find(point => point.k === k)!;
  const rough = roughness(points);
  const sides = [points.filter(point => point.k < k), points.filter(point => point.k > k)];
  const falls = sides.map(side => {
    if (side.length === 0) return { rise: 0, error: rough };
    const lowest = side.reduce((a, b) => (b.silhouette < a.silhouette ? b : a));
    return { rise: peak.silhouette - lowest.silhouette, error: Math.hypot(pairedError(peak, lowest), rough) };
  });
  const flat = falls.some(({ rise, error }) => rise <= ERRORS * error);
  const least = falls[0].rise <= falls[1].rise ? falls[0] : falls[1];
  return { flat, edge: sides.some(side => side.length === 0), ...least };
}

function pairedError(a: Judged, b: Judged): number {
  const differences = a.samples.map((value, i) => value - b.samples[i]);
  const n = differences.length;
  const mean = differences.reduce((sum, value) => sum + value, 0) / n;
  const squares = differences.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return n < 2 ? Number.POSITIVE_INFINITY : Math.sqrt(squares / (n - 1) / n);
}

/** How far a point typically lies beside the line between its neighbours, of neighbours that are close: the error of one point. */
function roughness(points: readonly Judged[]): number {
  const beside: number[] = [];
  for (let i = 1; i < points.length - 1; i++) {
    const [before, here, after] = points.slice(i - 1, i + 2);
    if (after.k > 1.1 * before.k && after.k > before.k + 2) continue;
    const share = (here.k - before.k) / (after.k - before.k);
    // A point and two that are weighted: the variance of the difference is so many times that of one.
    const variances = 1 + (1 - share) ** 2 + share ** 2;
    beside.push(
      Math.abs(here.silhouette - before.silhouette * (1 - share) - after.silhouette * share) / Math.sqrt(variances),
    );
  }
  // The median, as a sharp peak is no error; of a normal deviation it is 0.6745 of the standard one.
  return beside.length === 0 ? 0 : beside.sort((a, b) => a - b)[beside.length >> 1] / 0.6745;
}
