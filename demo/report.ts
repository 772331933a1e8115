/** The demo's figures: their mean over seeds, and the table that people read. */

/** Figures of one seed; accuracies are 0–1, top-1 over the whole vocabulary unless said otherwise. */
export interface DemoResult {
  seed: number;
  images: number;
  classes: number;
  zeroShot: number;
  /** Zero-shot with the true names only. */
  bound: number;
  /** Accuracy of the clusters under their best one-to-one match with the true classes. */
  kmeans: number;
  /** The labels of each step: those of the vote, `structural`, `student`, `teacher`. */
  steps: Readonly<Record<string, number>>;
  /** True names among those that discovery chose. */
  namesFound: number;
  missed: string[];
  /** New drawings of the same classes, which no step has seen. */
  newImages: { zeroShot: number; teacher: number };
  /** The run folder. */
  run: string;
  seconds: number;
}

/** How steps are called in the table, with a note. */
const STEPS: Readonly<Record<string, readonly [name: string, note?: string]>> = {
  vote: ['vote', 'clusters are named; several may have one name'],
  smoothed: ['vote, smoothed', 'images that look alike get one name'],
  structural: ['realign', 'the structural labels of the training'],
  student: ['student', 'after self-training'],
  teacher: ['teacher', 'after self-training: what the tuned model says of each image'],
  renewed: ['labels', 'named anew by the features of the teacher'],
};

/** What the mean over seeds keeps. */
export type DemoMean = Omit<DemoResult, 'seed' | 'run' | 'missed'>;

/** Figure by figure the mean over seeds. */
export function meanOf(results: readonly DemoResult[]): DemoMean {
  const mean = (figure: (result: DemoResult) => number): number =>
    results.reduce((sum, result) => sum + figure(result), 0) / results.length;
  return {
    images: mean(r => r.images),
    classes: mean(r => r.classes),
    zeroShot: mean(r => r.zeroShot),
    bound: mean(r => r.bound),
    kmeans: mean(r => r.kmeans),
    steps: Object.fromEntries(Object.keys(results[0].steps).map(step => [step, mean(r => r.steps[step])])),
    namesFound: mean(r => r.namesFound),
    newImages: { zeroShot: mean(r => r.newImages.zeroShot), teacher: mean(r => r.newImages.teacher) },
    seconds: mean(r => r.seconds),
  };
}

/** A table of one seed, or of the mean under the given title. */
export function showTable(result: DemoResult | DemoMean, title?: string): string {
  const rows: [string, number, string][] = [
    ['zero-shot, all names', result.zeroShot, 'what the model says before anything else'],
    ['zero-shot, true names only', result.bound, 'the bound: somebody tells it the names'],
    ['k-means', result.kmeans, 'best match of clusters and classes; no names yet'],
    ...Object.entries(result.steps).map(([step, share]): [string, number, string] => {
      const [name, note = ''] = STEPS[step] ?? [step.replace('_', ' ')];
      return [name, share, note];
    }),
    ['new images: zero-shot', result.newImages.zeroShot, 'other drawings of the same things'],
    ['new images: teacher', result.newImages.teacher, ''],
  ];
  const one = 'seed' in result;
  const lines = [
    '',
    title ?? (one ? `Seed ${result.seed}: ${result.images} images of ${result.classes} kinds of things` : ''),
    '',
    ...rows.map(([name, share, note]) => `  ${name.padEnd(28)}${percent(share)}   ${note}`.trimEnd()),
    '',
    `  names found ${round(result.namesFound)} of ${round(result.classes)}${one && result.missed.length > 0 ? `, missed: ${result.missed.join(', ')}` : ''}`,
    `  ${round(result.seconds)} s${one ? `; labels, model and metrics are in ${result.run}` : ' a seed'}`,
    '',
  ];
  return `${lines.join('\n')}\n`;
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1).padStart(5)} %`;
}

function round(value: number): string {
  return String(Math.round(10 * value) / 10);
}
