/** How sure the figures of a report are: each one's interval by resampling the images. */
import { type BootstrapOptions, bootstrapCounts, bootstrapShare, type Interval } from './bootstrap.ts';
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
export function reportIntervals(report: Report, options: BootstrapOptions = {}): ReportIntervals {
  const share = (value: number): Interval => bootstrapShare(Math.round(value * report.images), report.images, options);
  return {
    accuracy: Object.fromEntries(Object.entries(report.accuracy).map(([k, value]) => [k, share(value)])),
    classAccuracy: bootstrapCounts(
      report.perClass.flatMap(({ images, correct }) => [correct, images - correct]),
      meanOfClasses,
      options,
    ),
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
