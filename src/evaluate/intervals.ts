/**
 * How sure the figures of a report are: each one's interval by resampling the images.
 *
 * Only figures that are means over images have one. Resampling repeats images, which by itself raises NMI, ARI and purities of
 * small groups, and it can only lose names that were found: what it says about these would not hold the figure itself.
 */
import { type BootstrapOptions, bootstrapCounts, bootstrapShare, type Interval, type Without } from './bootstrap.ts';
import type { Report } from './evaluate.ts';

export interface ReportIntervals {
  /** By k, as `Report.accuracy`. */
  accuracy: Record<number, Interval>;
  classAccuracy: Interval;
  /** Clustering accuracy of the predicted names, with the match of the whole set kept: matching anew would overfit each resample. */
  clustering: Interval;
  /** Of the clusters, if the report has them. */
  clusters?: Interval;
}

/**
 * The intervals of a report's accuracies over images like these; they say nothing about another seed of the training, for which
 * there is `spreadOverSeeds`.
 *
 * Throws S3aError VALUE for options that cannot be meant.
 */
export function reportIntervals(
  report: Omit<Report, 'intervals' | 'semantic'>,
  options: BootstrapOptions = {},
): ReportIntervals {
  const classes = report.perClass.flatMap(({ images, correct }) => [correct, images - correct]);
  const share = (value: number): Interval => bootstrapShare(Math.round(value * report.images), report.images, options);
  return {
    accuracy: Object.fromEntries(Object.entries(report.accuracy).map(([k, value]) => [k, share(value)])),
    classAccuracy: bootstrapCounts(classes, meanOfClasses, options, () => meanOfClassesLeft(classes)),
    clustering: share(report.clustering.accuracy),
    ...(report.clusters && { clusters: share(report.clusters.accuracy) }),
  };
}

/** Of pairs of right and wrong; a class without an image in a resample is left out there. */
function meanOfClasses(counts: Float64Array): number {
  let [sum, classes] = [0, 0];
  for (let i = 0; i < counts.length; i += 2) {
    const images = counts[i] + counts[i + 1];
    if (images === 0) continue;
    sum += counts[i] / images;
    classes++;
  }
  return sum / classes;
}

/** `meanOfClasses` without one image of each cell. */
function meanOfClassesLeft(counts: readonly number[]): Without[] {
  const [mean, classes] = [meanOfClasses(Float64Array.from(counts)), counts.length / 2];
  return counts.map((weight, i) => {
    const right = counts[i - (i % 2)];
    const images = right + counts[i - (i % 2) + 1];
    // The last image of the last class leaves nothing.
    if (weight === 0 || (images === 1 && classes === 1)) return { value: 0, weight: 0 };
    const others = mean * classes - right / images;
    const value =
      images === 1 ? others / (classes - 1) : (others + (right - (i % 2 === 0 ? 1 : 0)) / (images - 1)) / classes;
    return { value, weight };
  });
}
