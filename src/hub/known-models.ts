/** Families of models that s3a reads, with names to give and what they take to download. */

/** One model of a family. */
export interface KnownModel {
  readonly family: string;
  /** What to give with --model. */
  readonly model: string;
  /** What to give with --pretrained. */
  readonly pretrained?: string;
  /** Pixels of a side of the image. */
  readonly pixels: number;
  /** Megabytes of the weights in float32: parameters times four. */
  readonly megabytes: number;
}

const MEGABYTES = { 'ViT-B-32': 605, 'ViT-B-16': 598, 'ViT-L-14': 1710, 'ViT-H-14': 3944 } as const;

function openAi(name: string, pixels: number, megabytes: number): KnownModel {
  return { family: 'OpenAI CLIP', model: `openai/clip-vit-${name}`, pixels, megabytes };
}

function openClip(family: string, model: keyof typeof MEGABYTES, pretrained: string): KnownModel {
  return { family, model, pretrained, pixels: 224, megabytes: MEGABYTES[model] };
}

function siglip(family: string, name: string, pixels: number, megabytes: number): KnownModel {
  return { family, model: `google/${name}`, pixels, megabytes };
}

/** Models whose architecture and formats s3a reads, smallest first in each family. */
export const KNOWN_MODELS: readonly KnownModel[] = [
  openAi('base-patch32', 224, 605),
  openAi('base-patch16', 224, 598),
  openAi('large-patch14', 224, 1710),
  openAi('large-patch14-336', 336, 1712),
  openClip('LAION-2B', 'ViT-B-32', 'laion2b_s34b_b79k'),
  openClip('LAION-2B', 'ViT-B-16', 'laion2b_s34b_b88k'),
  openClip('LAION-2B', 'ViT-L-14', 'laion2b_s32b_b82k'),
  openClip('LAION-2B', 'ViT-H-14', 'laion2b_s32b_b79k'),
  openClip('DataComp-1B', 'ViT-B-32', 'datacomp_xl_s13b_b90k'),
  openClip('DataComp-1B', 'ViT-B-16', 'datacomp_xl_s13b_b90k'),
  openClip('DataComp-1B', 'ViT-L-14', 'datacomp_xl_s13b_b90k'),
  openClip('MetaCLIP', 'ViT-B-32', 'metaclip_fullcc'),
  openClip('MetaCLIP', 'ViT-B-16', 'metaclip_fullcc'),
  openClip('MetaCLIP', 'ViT-L-14', 'metaclip_fullcc'),
  openClip('DFN-2B', 'ViT-B-16', 'dfn2b'),
  openClip('DFN-2B', 'ViT-L-14', 'dfn2b'),
  siglip('SigLIP', 'siglip-base-patch16-224', 224, 813),
  siglip('SigLIP', 'siglip-large-patch16-256', 256, 2609),
  siglip('SigLIP', 'siglip-so400m-patch14-384', 384, 3512),
  siglip('SigLIP 2', 'siglip2-base-patch16-224', 224, 1501),
  siglip('SigLIP 2', 'siglip2-large-patch16-256', 256, 3526),
  siglip('SigLIP 2', 'siglip2-so400m-patch14-384', 384, 4544),
];

/** The known model whose name without the organisation is `name`. */
export function sameName(name: string): string | undefined {
  return KNOWN_MODELS.find(({ model }) => model.split('/')[1] === name)?.model;
}
