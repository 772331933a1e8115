/** `s3a export`: the model of a run as a folder that others load. */
import { Command, InvalidArgumentError, Option } from 'commander';
import { PRECISIONS, type Precision } from '../../clip/export/onnx.ts';
import { type ExportOptions, type ExportReport, exportModel } from '../../run/export.ts';
import { addCommon, type CommonOptions, type Context, perform, quoted } from '../context.ts';
import { bytes, counted, table } from '../format.ts';

type ExportFlags = CommonOptions & ExportOptions;

/** `s3a export`, which prints the files that it wrote. */
export function exportCommand(context: Context): Command {
  const command = new Command('export')
    .description('Write a model with the names it found as a folder for transformers, transformers.js or open_clip.')
    .argument('<run|model>', 'run folder, or a model as --model takes it')
    .option('--pretrained <tag>', "open_clip's tag of pre-trained weights, for a model by a name of open_clip's")
    .addOption(new Option('--format <format>', 'What to write').choices(['transformers']).default('transformers'))
    .option('--out <folder>', 'The folder to make (default: exports/ and the name of the run or model)')
    .addOption(
      new Option('--dtype <dtype>', 'Numbers of model.safetensors').choices(['float32', 'float16']).default('float32'),
    )
    .option('--onnx <list>', 'ONNX files: float32, float16, int8, joined by commas, or none', precisions, [
      ...PRECISIONS,
    ])
    .addOption(
      new Option('--role <role>', 'Which network of a trained run (default: teacher)').choices(['teacher', 'student']),
    )
    .option('--open-clip', 'Also write the model as open_clip has it')
    .option(
      '--license <id>',
      'Licence in the model card (default: that of the model it started from, where it is known)',
    )
    .option('--overwrite', 'Replace a folder that is there');
  addCommon(command).addHelpText(
    'after',
    `
Examples:
  s3a export runs/photos
  s3a export runs/photos --out photos-clip --onnx float16,int8 --license mit
  s3a export runs/photos --onnx none --open-clip --dtype float16`,
  );
  return command.action(async (place: string, options: ExportFlags) => {
    await perform(context, options, undefined, hooks => exportModel(place, options, hooks), showReport);
  });
}

function showReport({ folder, role, classes, files }: ExportReport): string {
  const what = [
    role === null ? 'the model' : `the ${role}`,
    ...(classes > 0 ? [counted(classes, 'class', 'classes')] : []),
  ];
  const rows = files.map(({ name, bytes: size }) => [name, bytes(size)]);
  return `${table(['file', 'size'], rows)}\n${what.join(' with ')} in ${quoted(folder)}\n`;
}

function precisions(text: string): Precision[] {
  if (text === 'none') return [];
  const parts = text.split(',').map(part => part.trim());
  const unknown = parts.find(part => !(PRECISIONS as readonly string[]).includes(part));
  if (unknown !== undefined) throw new InvalidArgumentError(`It must be none, or some of ${PRECISIONS.join(', ')}.`);
  return PRECISIONS.filter(precision => parts.includes(precision));
}
