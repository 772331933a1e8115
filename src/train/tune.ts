/** What a training changes: the whole tower, its later part, its projection, or factors of low rank beside its weights. */
import type { ClipConfig } from '../clip/towers/config.ts';
import { layerCount, layerId } from '../clip/towers/initialise.ts';
import type { Parameter } from '../clip/towers/parameters.ts';
import { visionParameters } from '../clip/towers/vision.ts';
import { S3aError } from '../errors.ts';
import { type LoraTarget, loraFactors, loraTargets } from './lora.ts';

/** The ways of tuning, from the most to the least that is changed. */
export const TUNES = ['full', 'lora', 'last-blocks', 'head'] as const;
export type Tune = (typeof TUNES)[number];

export interface TuneSettings {
  /** Default `full`. */
  tune?: Tune;
  /** First blocks (or stages) that stay as they are, and the embeddings (or stem) with them; default 0, and for `last-blocks` all but the last third. */
  freezeLayers?: number;
  /** Default 8. */
  loraRank?: number;
  /** Factor of what LoRA adds, times its rank; default the rank. */
  loraAlpha?: number;
  /** Share of the patches that the student does not see; default 0. */
  patchDropout?: number;
  /** Strong views an image that `last-blocks` and `head` keep the activations of; default 4. */
  cachedViews?: number;
}

export interface TunePlan {
  readonly tune: Tune;
  /** Weights of the image tower that stay as they are; student and teacher share them. */
  readonly frozen: readonly Parameter[];
  /** What is trained: weights of the tower, or LoRA's factors. */
  readonly trained: readonly Parameter[];
  /** The weights that have factors beside them. */
  readonly targets: readonly LoraTarget[];
  readonly rank: number;
  /** Factor of the product of LoRA's factors. */
  readonly scale: number;
  readonly patchDropout: number;
  /** Strong views of an image whose activations at the end of the frozen part are kept; 0 when none are. */
  readonly cachedViews: number;
}

const DEFAULT_RANK = 8;
const DEFAULT_VIEWS = 4;
const PROJECTION = 'visual_projection.weight';

/**
 * Which weights of the image tower stay and which are trained.
 * @throws S3aError TUNE for settings that do not fit each other or the tower
 */
export function tunePlan(config: ClipConfig, settings: TuneSettings = {}): TunePlan {
  const { tune = 'full', loraRank: rank = DEFAULT_RANK, patchDropout = 0 } = settings;
  const blocks = layerCount(config);
  const freeze = settings.freezeLayers ?? (tune === 'last-blocks' ? Math.max(Math.floor((2 * blocks) / 3), 1) : 0);
  check(config, tune, { ...settings, freezeLayers: freeze });
  const all = visionParameters(config);
  const stays = ({ name }: Parameter): boolean =>
    tune === 'head' ? name !== PROJECTION : freeze > 0 && layerId(config, name) <= freeze;
  const cachedViews = tune === 'last-blocks' || tune === 'head' ? (settings.cachedViews ?? DEFAULT_VIEWS) : 0;
  const common = { tune, rank, scale: (settings.loraAlpha ?? rank) / rank, patchDropout, cachedViews };
  if (tune !== 'lora') {
    return { ...common, frozen: all.filter(stays), trained: all.filter(p => !stays(p)), targets: [] };
  }
  const targets = loraTargets(all.filter(p => !stays(p)));
  return { ...common, frozen: all, trained: loraFactors(targets, rank), targets };
}

/** Whether settings are the method's own, so that what else they hold changes nothing. */
export function isWhole({ tune = 'full', freezeLayers = 0, patchDropout = 0 }: TuneSettings): boolean {
  return tune === 'full' && freezeLayers === 0 && patchDropout === 0;
}

/** Whether a plan is the method's own: the whole tower, of whole images. */
export function changesAll({ tune, frozen, patchDropout }: TunePlan): boolean {
  return tune === 'full' && frozen.length === 0 && patchDropout === 0;
}

function check(config: ClipConfig, tune: Tune, settings: TuneSettings): void {
  const { freezeLayers = 0, loraRank, loraAlpha, patchDropout = 0, cachedViews = 1 } = settings;
  const { model_type: family } = config.vision_config;
  const blocks = layerCount(config);
  const whole = (name: string, value: number, low: number): void => {
    if (Number.isInteger(value) && value >= low) return;
    throw new S3aError('TUNE', `training: ${name} is ${value}`, `Give a whole number from ${low}.`);
  };
  whole('freezeLayers', freezeLayers, 0);
  whole('loraRank', loraRank ?? DEFAULT_RANK, 1);
  whole('cachedViews', cachedViews, 1);
  if (loraAlpha !== undefined && !(loraAlpha > 0)) throw new S3aError('TUNE', `training: loraAlpha is ${loraAlpha}`);
  if (!(patchDropout >= 0 && patchDropout < 1)) {
    throw new S3aError('TUNE', `training: patchDropout is ${patchDropout}`, 'Give a share from 0 to less than 1.');
  }
  if (!TUNES.includes(tune))
    throw new S3aError('TUNE', `training: tune is ${tune}`, `Give one of ${TUNES.join(', ')}.`);
  if (freezeLayers > blocks || (tune === 'lora' && freezeLayers === blocks)) {
    const what = `${freezeLayers} layers cannot be frozen${tune === 'lora' ? ' with lora' : ''}: the image tower has ${blocks}`;
    throw new S3aError(
      'TUNE',
      what,
      'Freeze fewer with --freeze-layers, or tune the projection alone with --tune head.',
    );
  }
  if (tune === 'last-blocks' && freezeLayers === 0) {
    throw new S3aError('TUNE', 'last-blocks with no layer frozen has nothing to keep', 'Give --freeze-layers from 1.');
  }
  if (patchDropout > 0 && family === 's3a_resnet') {
    const what = 'patch dropout needs patches, and this image tower is convolutional';
    throw new S3aError('TUNE', what, 'Leave --patch-dropout out.');
  }
  if (patchDropout > 0 && (tune === 'last-blocks' || tune === 'head')) {
    const what = `patch dropout does not go with ${tune}, which keeps the activations of whole images`;
    throw new S3aError('TUNE', what, 'Leave --patch-dropout out.');
  }
  if (tune === 'head' && family === 'siglip_vision_model') {
    const what = "SigLIP's image tower has no projection that head could tune";
    throw new S3aError('TUNE', what, 'Use --tune last-blocks.');
  }
}
