/** `s3a eval`: a run against known labels. */
import { Command, InvalidArgumentError, Option } from 'commander';
import type { Interval } from '../../evaluate/bootstrap.ts';
import type { Report } from '../../evaluate/evaluate.ts';
import { SEMANTIC_MODEL } from '../../evaluate/sentence-encoder.ts';
import { evaluateRun, type RunReport } from '../../run/evaluate-run.ts';
import { addCommon, type CommonOptions, type Context, perform } from '../context.ts';
import { count, counted, percent, table } from '../format.ts';

const MOST_NAMES = 20;
const SAMPLES = 1000;
const MAX_SAMPLES = 1_000_000;

interface EvalOptions extends CommonOptions {
  labels: string;
  semanticModel?: string | true;
  bootstrap?: number | true;
}

/** `s3a eval`, which prints a row of figures a step. */
export function evalCommand(context: Context): Command {
  const command = new Command('eval')
    .description('Compare every step of a run with known labels.')
    .argument('<run>', 'run folder')
    .requiredOption(
      '--labels <dir|csv>',
      'A folder whose sub-folders are the classes, or a .csv, .jsonl or .parquet table with file_name and label',
    )
    .addOption(
      new Option(
        '--semantic-model [name]',
        `Score names by their meaning with a sentence-embedding model in ONNX: a folder or a name on the hub (default: ${SEMANTIC_MODEL})`,
      ),
    )
    .addOption(
      new Option(
        '--bootstrap [n]',
        `Show how sure the figures are: 95 % intervals from n resamples of the images (default: ${SAMPLES})`,
      ).argParser(samplesOf),
    )
    .addHelpText(
      'after',
      `
Labels may be names or WordNet ids such as n02084071; case does not matter, and underscores are spaces.

Examples:
  s3a eval runs/photos --labels photos-by-class
  s3a eval runs/photos --labels truth.csv --json
  s3a eval runs/photos --labels truth.csv --bootstrap --semantic-model`,
    );
  return addCommon(command).action(async (run: string, options: EvalOptions) => {
    const { labels, semanticModel, bootstrap } = options;
    const samples = bootstrap === true ? SAMPLES : bootstrap;
    const wanted = { semanticModel, ...(samples === undefined ? {} : { bootstrap: { samples } }) };
    await perform(context, options, undefined, hooks => evaluateRun(run, labels, wanted, hooks), showReport);
  });
}

function samplesOf(text: string): number {
  const samples = Number(text);
  if (Number.isInteger(samples) && samples >= 2 && samples <= MAX_SAMPLES) return samples;
  throw new InvalidArgumentError(`It must be a whole number from 2 to ${MAX_SAMPLES}.`);
}

function showReport(report: RunReport): string {
  const { images, unlabelled, classes, clusters, stages, bound, outsideVocabulary, semanticModel } = report;
  const scored = semanticModel !== undefined;
  const rows = [
    ...(bound ? [['true names only', ...figures(bound, scored)]] : []),
    [
      'clusters',
      '',
      '',
      '',
      '',
      percent(clusters.accuracy) + half(clusters.interval),
      percent(clusters.nmi),
      percent(clusters.ari),
      '',
    ],
    ...Object.entries(stages).map(([stage, step]) => [stage.replaceAll('_', ' '), ...figures(step, scored)]),
  ];
  const head = ['step', 'top-1', 'top-3', 'top-5', 'top-10', 'cluster acc', 'NMI', 'ARI', 'names found'];
  const last = Object.values(stages).at(-1);
  return [
    table(scored ? [...head, 'semantic'] : head, rows),
    `\n${counted(images, 'image')} of ${counted(classes, 'class', 'classes')}`,
    unlabelled > 0 ? `; ${count(unlabelled)} without a label left out` : '',
    last && last.named < images ? `; ${count(images - last.named)} without a name, never right` : '',
    '\n',
    last?.intervals ? '± is half of the 95 % interval over images like these, not over seeds\n' : '',
    report.calibration ? `Expected calibration error of the labels: ${percent(report.calibration.ece)}\n` : '',
    `Mean purity of the clusters: ${percent(clusters.meanPurity)}`,
    last ? `; names of the last step: IoU ${percent(last.names.iou)}, recall ${percent(last.names.recall)}\n` : '\n',
    scored ? `semantic: mean cosine of given and true names by ${semanticModel}\n` : '',
    names('Not in the vocabulary', outsideVocabulary),
    names('Missed by the last step', last?.names.missing ?? []),
    names('Given, but no true name', last?.names.extra ?? []),
  ].join('');
}

function figures({ accuracy, clustering, names, semantic, intervals }: Report, scored: boolean): string[] {
  return [
    ...[1, 3, 5, 10].map(k => percent(accuracy[k]) + half(intervals?.accuracy[k])),
    percent(clustering.accuracy) + half(intervals?.clustering),
    percent(clustering.nmi),
    percent(clustering.ari),
    `${names.found.length}/${names.found.length + names.missing.length}`,
    ...(scored ? [percent(semantic) + half(intervals?.semantic)] : []),
  ];
}

function half(interval: Interval | undefined): string {
  return interval ? ` ± ${percent((interval.high - interval.low) / 2)}` : '';
}

function names(what: string, list: readonly string[]): string {
  if (list.length === 0) return '';
  const more = list.length > MOST_NAMES ? `, … (${count(list.length)} in all)` : '';
  return `${what}: ${list.slice(0, MOST_NAMES).join(', ')}${more}\n`;
}
