/** open_clip's architectures that are plain CLIPs, by name: what `--model ViT-B-32` means for a file of weights. */
import { S3aError } from '../../errors.ts';

/**
 * `name: embedding; image layers, width, patch, side[, head width, MLP ratio]; text layers, width`, from open_clip 3.3's
 * model_configs. Text heads are 64 wide. With `-quickgelu` behind a name the activation is QuickGELU.
 */
const TABLE = `
ViT-S-32: 384; 12 384 32 224; 12 384
ViT-S-16: 384; 12 384 16 224; 12 384
ViT-S-32-alt: 256; 12 384 32 224; 10 256
ViT-S-16-alt: 256; 12 384 16 224; 10 256
ViT-M-32: 512; 12 512 32 224; 12 512
ViT-M-16: 512; 12 512 16 224; 12 512
ViT-M-32-alt: 384; 12 512 32 224; 12 384
ViT-B-32: 512; 12 768 32 224; 12 512
ViT-B-32-256: 512; 12 768 32 256; 12 512
ViT-B-32-plus-256: 640; 12 896 32 256; 12 640
ViT-B-16: 512; 12 768 16 224; 12 512
ViT-B-16-plus: 640; 12 896 16 224; 12 640
ViT-B-16-plus-240: 640; 12 896 16 240; 12 640
ViT-L-16: 768; 24 1024 16 224; 12 768
ViT-L-16-320: 768; 24 1024 16 320; 12 768
ViT-L-14: 768; 24 1024 14 224; 12 768
ViT-L-14-280: 768; 24 1024 14 280; 12 768
ViT-L-14-336: 768; 24 1024 14 336; 12 768
ViT-H-16: 1024; 32 1280 16 224 80; 24 1024
ViT-H-14: 1024; 32 1280 14 224 80; 24 1024
ViT-H-14-378: 1024; 32 1280 14 378 80; 24 1024
ViT-g-14: 1024; 40 1408 14 224 88 4.3637; 24 1024
ViT-bigG-14: 1280; 48 1664 14 224 104 4.9231; 32 1280
ViT-e-14: 1280; 56 1792 14 224 112 8.5715; 36 1280`;

const QUICK = '-quickgelu';

let byName: ReadonlyMap<string, string> | undefined;

function table(): ReadonlyMap<string, string> {
  byName ??= new Map(
    TABLE.trim()
      .split('\n')
      .map(line => line.split(': ') as [string, string]),
  );
  return byName;
}

/** Names of all architectures, without those of QuickGELU. */
export function openClipArchitectures(): string[] {
  return [...table().keys()];
}

/** The `model_cfg` of open_clip for an architecture, also as OpenAI spells it; undefined for one that is not in the table. */
export function openClipModelConfig(spelling: string): Record<string, unknown> | undefined {
  const name = spelling.replaceAll('/', '-').replace(/@336px$/, '-336');
  const line = table().get(name.endsWith(QUICK) ? name.slice(0, -QUICK.length) : name);
  if (line === undefined) return undefined;
  const [[dimension], [layers, width, patch, side, head = 64, ratio = 4], [textLayers, textWidth]] = line
    .split('; ')
    .map(part => part.split(' ').map(Number));
  return {
    embed_dim: dimension,
    quick_gelu: name.endsWith(QUICK),
    vision_cfg: { layers, width, patch_size: patch, image_size: side, head_width: head, mlp_ratio: ratio },
    text_cfg: { layers: textLayers, width: textWidth, heads: textWidth / 64, context_length: 77, vocab_size: 49408 },
  };
}

/**
 * The configuration of an architecture as open_clip_config.json has it.
 * @throws S3aError MODEL for one that is not in the table
 */
export function openClipArchitecture(name: string): { model: unknown; preprocess: unknown } {
  const model = openClipModelConfig(name);
  if (model) return { model, preprocess: {} };
  throw new S3aError(
    'MODEL',
    `${name} is not an architecture of open_clip that is known for a file of weights`,
    `Known are ${openClipArchitectures().join(', ')}, each also with ${QUICK}; a folder with open_clip_config.json needs no name.`,
  );
}
