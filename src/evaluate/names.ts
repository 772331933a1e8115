/** Which of the true names were found (METHOD §5). */
import { S3aError } from '../errors.ts';
import { normalizeName } from '../vocab/vocabulary.ts';

export interface NamesReport {
  /** True names that were found, sorted. */
  found: string[];
  /** True names that were not, sorted. */
  missing: string[];
  /** Names that were given but are not true ones, sorted. */
  extra: string[];
  /** Found over true names. */
  recall: number;
  /** Found over given names; 0 when none was given. */
  precision: number;
  /** Harmonic mean of recall and precision; 0 when none was found. */
  f1: number;
  /** Found over all names that are given or true. */
  iou: number;
}

/**
 * Compares the set of given names with the set of true ones; repeats, case and spaces do not matter.
 *
 * Throws S3aError EVALUATE when there is no true name.
 */
export function compareNames(given: Iterable<string>, truth: Iterable<string>): NamesReport {
  const have = new Set(Array.from(given, normalizeName));
  const want = new Set(Array.from(truth, normalizeName));
  if (want.size === 0) throw new S3aError('EVALUATE', 'there are no true names to compare with');
  const sorted = [...want].sort();
  const found = sorted.filter(name => have.has(name));
  const extra = [...have].filter(name => !want.has(name)).sort();
  return {
    found,
    missing: sorted.filter(name => !have.has(name)),
    extra,
    recall: found.length / want.size,
    precision: have.size > 0 ? found.length / have.size : 0,
    f1: (2 * found.length) / (want.size + have.size),
    iou: found.length / (want.size + extra.length),
  };
}

/** `normalizeName` that works on each distinct name once: a data set has far fewer names than images. */
export function nameNormalizer(): (name: string) => string {
  const known = new Map<string, string>();
  return name => {
    let found = known.get(name);
    if (found === undefined) {
      found = normalizeName(name);
      known.set(name, found);
    }
    return found;
  };
}
