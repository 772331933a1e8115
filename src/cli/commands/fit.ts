/** `s3a fit` and `s3a discover`: from a folder of images to a run folder. */
import { basename, extname, join, resolve } from 'node:path';
import { Command } from 'commander';
import { resolveConfig, resolveOverrides } from '../../config/resolve.ts';
import { messageOf } from '../../errors.ts';
import { listImages } from '../../images/source.ts';
import type { RunHooks, RunSummary } from '../../run/events.ts';
import { discover, fit } from '../../run/fit.ts';
import { estimateBound } from '../../run/prompt-estimate.ts';
import { estimateTraining } from '../../run/train-estimate.ts';
import { addCommon, type CommonOptions, type Context, perform, quoted } from '../context.ts';
import { addDryRun, type DryRunOption, showEstimate } from '../dry-run.ts';
import { addSettings, settingSources } from '../flags.ts';
import { showSummary } from '../summary.ts';

const VERBS = {
  fit: {
    run: fit,
    description: 'Name and label a folder of images and tune the model on them: discover, then train.',
    examples: `
Examples:
  s3a fit photos
  s3a fit photos --model demo --preset quick
  s3a fit photos --model openai/clip-vit-base-patch32 --vocab names.txt --k 40
  s3a fit photos --model ViT-B-32 --pretrained laion2b_s34b_b79k --preset cpu --out runs/holiday
  s3a fit photos --out runs/holiday --resume`,
  },
  discover: {
    run: discover,
    description: 'Name and label a folder of images without training.',
    examples: `
Examples:
  s3a discover photos --model demo --preset quick
  s3a discover photos more-photos list.txt --model ./my-clip --k estimate --out runs/all
  s3a discover photos --model demo --llm openai --llm-model llama3.2 --llm-base-url http://localhost:11434/v1
  s3a discover --embeddings z.npy --prototypes h.npy --names names.json --out runs/features`,
  },
} as const;

/** Who tries the model that needs no download on photographs should not judge the method by what comes of it. */
const DEMO_NOTE =
  'note: --model demo knows drawings of emoji and little else; photographs need a real CLIP (s3a models)';

/** `s3a fit` or `s3a discover`, which print the names that they found. */
export function fitCommand(verb: keyof typeof VERBS, context: Context): Command {
  const { run, description, examples } = VERBS[verb];
  const command = new Command(verb)
    .description(description)
    .argument(verb === 'fit' ? '<images...>' : '[images...]', 'folders, image files, or .txt lists of them')
    .option('--out <folder>', 'Run folder (default: runs/ and the name of the first images)')
    .option('--resume', 'Go on with the run that is in the run folder');
  addSettings(addCommon(command), setting => verb === 'fit' || setting.group !== 'train').addHelpText(
    'after',
    examples,
  );
  addDryRun(command);
  type Options = CommonOptions & DryRunOption & { out?: string; resume?: boolean };
  return command.action(async (images: string[], options: Options) => {
    const { out = defaultOut(images[0] ?? 'features'), resume = false } = options;
    const sources = settingSources(command);
    if (options.dryRun) {
      const config = await resolveConfig(sources);
      // What can be estimated without them would hide that there are none.
      if (images.length > 0) await listImages(images, { recursive: config.recursive });
      const training = verb === 'fit' ? await estimateTraining(images, config).catch(messageOf) : undefined;
      return showEstimate(context, options, await estimateBound(config), training);
    }
    const settings = await resolveOverrides(sources);
    const goOn = ['s3a', verb, ...images.map(quoted), '--out', quoted(out), '--resume'].join(' ');
    const work = (hooks: RunHooks): Promise<RunSummary> => {
      if (settings.model === 'demo') hooks.onEvent?.({ type: 'note', message: DEMO_NOTE });
      return run({ ...settings, images, out, resume }, hooks);
    };
    await perform(context, options, goOn, work, showSummary);
  });
}

/** `runs/` and the name of the images. */
export function defaultOut(images: string): string {
  const name = basename(resolve(images));
  return join('runs', extname(name) === '.txt' ? basename(name, '.txt') : name || 'images');
}
