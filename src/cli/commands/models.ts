/** `s3a models`: which models are on this disk, and which there are. */
import { Command } from 'commander';
import { type CachedModel, KNOWN_MODELS, type KnownModel, listCached, openClipName } from '../../hub/index.ts';
import { addCommon, type CommonOptions, type Context, perform } from '../context.ts';
import { bytes, counted, table } from '../format.ts';

/** A known model, and whether it is in the cache. */
interface Offered extends KnownModel {
  readonly repo: string;
  readonly cached: boolean;
}

interface Models {
  readonly cache: string;
  readonly models: readonly CachedModel[];
  readonly known: readonly Offered[];
}

/** `s3a models`, which prints what is in the cache and the families that there are. */
export function modelsCommand(context: Context): Command {
  const command = new Command('models')
    .description('List the models that have been downloaded, and the families of models that s3a reads.')
    .addHelpText(
      'after',
      `
Models come from the Hugging Face hub into its usual cache, which Python shares. A name is org/name, org/name@revision,
hf-hub:org/name, an address on huggingface.co, or a name of open_clip's with --pretrained; a folder or file wins over all.
Variables: HF_HOME or HF_HUB_CACHE (where the cache is), HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE, HTTPS_PROXY, NO_PROXY.

Examples:
  s3a models
  s3a models --json
  s3a fit photos --model openai/clip-vit-base-patch16
  s3a fit photos --model ViT-B-16 --pretrained datacomp_xl_s13b_b90k`,
    );
  return addCommon(command).action(async (options: CommonOptions) => {
    await perform(context, options, undefined, models, show);
  });
}

async function models(): Promise<Models> {
  const { cache, models } = await listCached();
  const complete = new Set(models.filter(model => model.complete).map(({ repo }) => repo));
  const known = KNOWN_MODELS.map(model => {
    const repo = model.pretrained === undefined ? model.model : openClipName(model.model, model.pretrained).repo;
    return { ...model, repo, cached: complete.has(repo) };
  });
  return { cache, models, known };
}

function show({ cache, models, known }: Models): string {
  const shown = models.filter(({ isClip }) => isClip !== false);
  const others = new Set(models.filter(({ isClip }) => isClip === false).map(({ repo }) => repo)).size;
  const here = shown.map(model => [
    model.repo,
    [...model.revisions, model.commit.slice(0, 7)].join(', '),
    bytes(model.bytes),
    model.complete ? `${model.layout} ${model.layout === model.format ? '' : model.format}`.trim() : '',
    state(model),
  ]);
  const list = here.length > 0 ? table(['model', 'revision', 'size', 'format', 'state'], here) : 'No models yet.\n';
  const more = others > 0 ? `Besides ${counted(others, 'model')} of other kinds.\n` : '';
  const offered = known.map(({ family, model, pretrained = '', pixels, megabytes, cached }) => {
    return [family, model, pretrained, `${pixels}`, bytes(megabytes * 1e6), cached ? 'yes' : ''];
  });
  const header = ['family', '--model', '--pretrained', 'pixels', 'download', 'here'];
  return (
    `In ${cache}:\n${list}${more}\n` +
    `Families that s3a reads (sizes are those of float32 weights; any other model of a family goes, too):\n` +
    table(header, offered)
  );
}

function state({ complete, missing, partialBytes }: CachedModel): string {
  if (complete) return 'complete';
  return `lacks ${missing}${partialBytes > 0 ? `, ${bytes(partialBytes)} of a download are here` : ''}`;
}
