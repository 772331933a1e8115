/** `s3a predict`: labels for new images. */
import { dirname, resolve } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import { resolveOverrides } from '../../config/resolve.ts';
import { parseConfig } from '../../config/schema.ts';
import { makeFolder } from '../../io/atomic-write.ts';
import { type Column, checkTablePath, csvText, writeTable } from '../../io/table.ts';
import { type Prediction, predict } from '../../run/predict.ts';
import { addCommon, type CommonOptions, type Context, perform } from '../context.ts';
import { addSettings, settingSources } from '../flags.ts';
import { counted, table } from '../format.ts';

const SETTINGS = new Set(['device', 'threads', 'embedBatch', 'workers', 'recursive', 'maxPixels', 'templates']);

interface PredictFlags extends CommonOptions {
  top: number;
  vocab?: string;
  vocabulary?: boolean;
  format: 'table' | 'csv' | 'jsonl';
  out?: string;
}

/** `s3a predict`, which prints or writes a row an image. */
export function predictCommand(context: Context): Command {
  const command = new Command('predict')
    .description('Label images with the names that a run found, or with a vocabulary.')
    .argument('<run|model>', 'run folder, model folder, or demo')
    .argument('<images...>', 'folders, image files, or .txt lists of them')
    .option('--top <n>', 'Names an image', wholeNumber, 5)
    .option('--vocab <names>', 'Names to choose from: in21k, in1k, wordnet, demo, or a .txt, .csv or .json file')
    .option('--vocabulary', "Choose from all names of the run's vocabulary, not only those that it found")
    .addOption(new Option('--format <format>', 'How to print').choices(['table', 'csv', 'jsonl']).default('table'))
    .option('--out <file>', 'Write a .csv, .jsonl or .parquet file instead');
  addSettings(addCommon(command), setting => SETTINGS.has(setting.key)).addHelpText(
    'after',
    `
An image that cannot be read is a row with its error.

Examples:
  s3a predict runs/photos new-photos
  s3a predict runs/photos cat.jpg --top 3 --json
  s3a predict demo pictures --vocab names.txt --format csv > labels.csv`,
  );
  return command.action(async (place: string, images: string[], options: PredictFlags) => {
    const given = await resolveOverrides(settingSources(command));
    const { templates: _, ...settings } = parseConfig(given);
    const { top, vocab, vocabulary: wholeVocabulary, format, out } = options;
    if (out !== undefined) {
      // What would be wrong with the file in the end is wrong before the work, too.
      checkTablePath(out);
      await makeFolder(dirname(resolve(out)));
    }
    await perform(
      context,
      options,
      undefined,
      async hooks => {
        // Templates and names are those of the run unless they are given here.
        const use = { ...settings, templates: given.templates, top, vocab, wholeVocabulary };
        const predictions = await predict(place, images, use, hooks);
        if (out !== undefined) await writeTable(out, columnsOf(predictions));
        return predictions;
      },
      predictions => {
        if (out !== undefined) return `${counted(predictions.length, 'image')} in ${out}\n`;
        if (format === 'jsonl') return predictions.map(row => `${JSON.stringify(row)}\n`).join('');
        if (format === 'csv') return csvText(columnsOf(predictions));
        return table(
          ['file', 'label', 'confidence', 'then'],
          predictions.map(({ file_name, label, confidence, top: best, error }) => [
            file_name,
            label ?? '',
            confidence?.toFixed(3) ?? '',
            error ??
              best
                .slice(1, 3)
                .map(({ name, confidence: p }) => `${name} ${p.toFixed(3)}`)
                .join(', '),
          ]),
        );
      },
    );
  });
}

/** file_name, label, confidence, name_2, confidence_2, … and error. */
function columnsOf(predictions: readonly Prediction[]): Column[] {
  const most = Math.max(1, ...predictions.map(({ top }) => top.length));
  const others = Array.from({ length: most - 1 }, (_, i): Column[] => [
    { name: `name_${i + 2}`, type: 'text', values: predictions.map(({ top }) => top[i + 1]?.name ?? null) },
    {
      name: `confidence_${i + 2}`,
      type: 'float',
      values: predictions.map(({ top }) => top[i + 1]?.confidence ?? null),
    },
  ]);
  return [
    { name: 'file_name', type: 'text', values: predictions.map(row => row.file_name) },
    { name: 'label', type: 'text', values: predictions.map(row => row.label) },
    { name: 'confidence', type: 'float', values: predictions.map(row => row.confidence) },
    ...others.flat(),
    { name: 'error', type: 'text', values: predictions.map(row => row.error) },
  ];
}

function wholeNumber(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError('It must be a whole number from 1.');
  return Number(text);
}
