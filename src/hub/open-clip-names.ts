/** Names of open_clip: from an architecture and a tag of pre-trained weights to the repository that holds them. */
import { S3aError } from '../errors.ts';
import { shown } from './names.ts';

/** Pre-trained weights that open_clip knows by an architecture and a tag. */
export interface OpenClipName {
  /** open_clip's configuration; ends in `-quickgelu` where the weights were trained with it. */
  readonly architecture: string;
  readonly tag: string;
  /** `org/name` on the hub. */
  readonly repo: string;
}

/**
 * `architecture: tag=repository …`, in the order of open_clip 3.3's pretrained.py; `*` marks weights trained with QuickGELU.
 * Left out are image towers that are no plain ViT, other text towers than CLIP's and SigLIP's, and CoCa.
 */
const TABLE = `
ViT-B-32: *openai=timm/vit_base_patch32_clip_224.openai *laion400m_e31=timm/vit_base_patch32_clip_224.laion400m_e31
  *laion400m_e32=timm/vit_base_patch32_clip_224.laion400m_e32 laion2b_e16=timm/vit_base_patch32_clip_224.laion2b_e16
  laion2b_s34b_b79k=laion/CLIP-ViT-B-32-laion2B-s34B-b79K datacomp_xl_s13b_b90k=laion/CLIP-ViT-B-32-DataComp.XL-s13B-b90K
  datacomp_m_s128m_b4k=laion/CLIP-ViT-B-32-DataComp.M-s128M-b4K
  commonpool_m_clip_s128m_b4k=laion/CLIP-ViT-B-32-CommonPool.M.clip-s128M-b4K
  commonpool_m_laion_s128m_b4k=laion/CLIP-ViT-B-32-CommonPool.M.laion-s128M-b4K
  commonpool_m_image_s128m_b4k=laion/CLIP-ViT-B-32-CommonPool.M.image-s128M-b4K
  commonpool_m_text_s128m_b4k=laion/CLIP-ViT-B-32-CommonPool.M.text-s128M-b4K
  commonpool_m_basic_s128m_b4k=laion/CLIP-ViT-B-32-CommonPool.M.basic-s128M-b4K
  commonpool_m_s128m_b4k=laion/CLIP-ViT-B-32-CommonPool.M-s128M-b4K
  datacomp_s_s13m_b4k=laion/CLIP-ViT-B-32-DataComp.S-s13M-b4K
  commonpool_s_clip_s13m_b4k=laion/CLIP-ViT-B-32-CommonPool.S.clip-s13M-b4K
  commonpool_s_laion_s13m_b4k=laion/CLIP-ViT-B-32-CommonPool.S.laion-s13M-b4K
  commonpool_s_image_s13m_b4k=laion/CLIP-ViT-B-32-CommonPool.S.image-s13M-b4K
  commonpool_s_text_s13m_b4k=laion/CLIP-ViT-B-32-CommonPool.S.text-s13M-b4K
  commonpool_s_basic_s13m_b4k=laion/CLIP-ViT-B-32-CommonPool.S.basic-s13M-b4K
  commonpool_s_s13m_b4k=laion/CLIP-ViT-B-32-CommonPool.S-s13M-b4K
  *metaclip_400m=timm/vit_base_patch32_clip_224.metaclip_400m *metaclip_fullcc=timm/vit_base_patch32_clip_224.metaclip_2pt5b
ViT-B-32-256: datacomp_s34b_b86k=laion/CLIP-ViT-B-32-256x256-DataComp-s34B-b86K
ViT-B-16: *openai=timm/vit_base_patch16_clip_224.openai laion400m_e31=timm/vit_base_patch16_clip_224.laion400m_e31
  laion400m_e32=timm/vit_base_patch16_clip_224.laion400m_e32 laion2b_s34b_b88k=laion/CLIP-ViT-B-16-laion2B-s34B-b88K
  datacomp_xl_s13b_b90k=laion/CLIP-ViT-B-16-DataComp.XL-s13B-b90K datacomp_l_s1b_b8k=laion/CLIP-ViT-B-16-DataComp.L-s1B-b8K
  commonpool_l_clip_s1b_b8k=laion/CLIP-ViT-B-16-CommonPool.L.clip-s1B-b8K
  commonpool_l_laion_s1b_b8k=laion/CLIP-ViT-B-16-CommonPool.L.laion-s1B-b8K
  commonpool_l_image_s1b_b8k=laion/CLIP-ViT-B-16-CommonPool.L.image-s1B-b8K
  commonpool_l_text_s1b_b8k=laion/CLIP-ViT-B-16-CommonPool.L.text-s1B-b8K
  commonpool_l_basic_s1b_b8k=laion/CLIP-ViT-B-16-CommonPool.L.basic-s1B-b8K
  commonpool_l_s1b_b8k=laion/CLIP-ViT-B-16-CommonPool.L-s1B-b8K *dfn2b=apple/DFN2B-CLIP-ViT-B-16
  *metaclip_400m=timm/vit_base_patch16_clip_224.metaclip_400m *metaclip_fullcc=timm/vit_base_patch16_clip_224.metaclip_2pt5b
ViT-B-16-plus-240: laion400m_e31=timm/vit_base_patch16_plus_clip_240.laion400m_e31
  laion400m_e32=timm/vit_base_patch16_plus_clip_240.laion400m_e31
ViT-L-14: *openai=timm/vit_large_patch14_clip_224.openai laion400m_e31=timm/vit_large_patch14_clip_224.laion400m_e31
  laion400m_e32=timm/vit_large_patch14_clip_224.laion400m_e32 laion2b_s32b_b82k=laion/CLIP-ViT-L-14-laion2B-s32B-b82K
  datacomp_xl_s13b_b90k=laion/CLIP-ViT-L-14-DataComp.XL-s13B-b90K
  commonpool_xl_clip_s13b_b90k=laion/CLIP-ViT-L-14-CommonPool.XL.clip-s13B-b90K
  commonpool_xl_laion_s13b_b90k=laion/CLIP-ViT-L-14-CommonPool.XL.laion-s13B-b90K
  commonpool_xl_s13b_b90k=laion/CLIP-ViT-L-14-CommonPool.XL-s13B-b90K
  *metaclip_400m=timm/vit_large_patch14_clip_224.metaclip_400m *metaclip_fullcc=timm/vit_large_patch14_clip_224.metaclip_2pt5b
  *dfn2b=apple/DFN2B-CLIP-ViT-L-14 dfn2b_s39b=apple/DFN2B-CLIP-ViT-L-14-39B
ViT-L-14-336: *openai=timm/vit_large_patch14_clip_336.openai
ViT-H-14: laion2b_s32b_b79k=laion/CLIP-ViT-H-14-laion2B-s32B-b79K *metaclip_fullcc=timm/vit_huge_patch14_clip_224.metaclip_2pt5b
  metaclip_altogether=timm/vit_huge_patch14_clip_224.metaclip_altogether *dfn5b=apple/DFN5B-CLIP-ViT-H-14
ViT-H-14-378: *dfn5b=apple/DFN5B-CLIP-ViT-H-14-378
ViT-g-14: laion2b_s12b_b42k=laion/CLIP-ViT-g-14-laion2B-s12B-b42K laion2b_s34b_b88k=laion/CLIP-ViT-g-14-laion2B-s34B-b88K
ViT-bigG-14: laion2b_s39b_b160k=laion/CLIP-ViT-bigG-14-laion2B-39B-b160k
  *metaclip_fullcc=timm/vit_gigantic_patch14_clip_224.metaclip_2pt5b
ViT-B-16-SigLIP: webli=timm/ViT-B-16-SigLIP
ViT-B-16-SigLIP-256: webli=timm/ViT-B-16-SigLIP-256
ViT-B-16-SigLIP-i18n-256: webli=timm/ViT-B-16-SigLIP-i18n-256
ViT-B-16-SigLIP-384: webli=timm/ViT-B-16-SigLIP-384
ViT-B-16-SigLIP-512: webli=timm/ViT-B-16-SigLIP-512
ViT-L-16-SigLIP-256: webli=timm/ViT-L-16-SigLIP-256
ViT-L-16-SigLIP-384: webli=timm/ViT-L-16-SigLIP-384
ViT-SO400M-14-SigLIP: webli=timm/ViT-SO400M-14-SigLIP
ViT-SO400M-14-SigLIP-378: webli=timm/ViT-SO400M-14-SigLIP-384
ViT-SO400M-14-SigLIP-384: webli=timm/ViT-SO400M-14-SigLIP-384
ViT-B-32-SigLIP2-256: webli=timm/ViT-B-32-SigLIP2-256
ViT-B-16-SigLIP2: webli=timm/ViT-B-16-SigLIP2
ViT-B-16-SigLIP2-256: webli=timm/ViT-B-16-SigLIP2-256
ViT-B-16-SigLIP2-384: webli=timm/ViT-B-16-SigLIP2-384
ViT-B-16-SigLIP2-512: webli=timm/ViT-B-16-SigLIP2-512
ViT-L-16-SigLIP2-256: webli=timm/ViT-L-16-SigLIP2-256
ViT-L-16-SigLIP2-384: webli=timm/ViT-L-16-SigLIP2-384
ViT-L-16-SigLIP2-512: webli=timm/ViT-L-16-SigLIP2-512
ViT-SO400M-14-SigLIP2: webli=timm/ViT-SO400M-14-SigLIP2
ViT-SO400M-14-SigLIP2-378: webli=timm/ViT-SO400M-14-SigLIP2-378
ViT-SO400M-16-SigLIP2-256: webli=timm/ViT-SO400M-16-SigLIP2-256
ViT-SO400M-16-SigLIP2-384: webli=timm/ViT-SO400M-16-SigLIP2-384
ViT-SO400M-16-SigLIP2-512: webli=timm/ViT-SO400M-16-SigLIP2-512
`;

const QUICK = '-quickgelu';

/** By architecture, then by tag; architectures that end in `-quickgelu` have the tags that were trained with it. */
const NAMES: ReadonlyMap<string, ReadonlyMap<string, OpenClipName>> = parse(TABLE);

function parse(table: string): Map<string, Map<string, OpenClipName>> {
  const names = new Map<string, Map<string, OpenClipName>>();
  for (const line of table.trim().split(/\n(?! )/)) {
    const [plain, entries] = line.split(': ');
    for (const entry of entries.trim().split(/\s+/)) {
      const [, star, tag, repo] = /^(\*?)(\w+)=(\S+)$/.exec(entry) as RegExpExecArray;
      const architecture = star ? plain + QUICK : plain;
      for (const key of new Set([plain, architecture])) {
        const tags = names.get(key) ?? new Map<string, OpenClipName>();
        names.set(key, tags.set(tag, { architecture, tag, repo }));
      }
    }
  }
  return names;
}

/** All pairs of architecture and tag, in the order of the table. */
export function openClipNames(): { architecture: string; tag: string; repo: string; quickGelu: boolean }[] {
  return [...NAMES].flatMap(([name, tags]) =>
    [...tags.values()].map(({ tag, repo, architecture }) => {
      return { architecture: name, tag, repo, quickGelu: architecture.endsWith(QUICK) };
    }),
  );
}

/** Whether `name` is an architecture of open_clip that is known here; OpenAI's spelling `ViT-B/32` counts. */
export function isOpenClipArchitecture(name: string): boolean {
  return NAMES.has(plainName(name));
}

/**
 * The weights that open_clip means by an architecture and a tag.
 *
 * Throws S3aError MODEL with the known ones for a tag that is none or is missing.
 */
export function openClipName(name: string, tag: string | undefined): OpenClipName {
  const tags = NAMES.get(plainName(name)) ?? new Map<string, OpenClipName>();
  // Source: _clean_tag of open_clip's pretrained.py.
  const found = tag === undefined ? undefined : tags.get(tag.toLowerCase().replaceAll('-', '_'));
  if (found) return found;
  const what =
    tag === undefined
      ? `${shown(name)} is an architecture of open_clip, which has no weights by itself`
      : `open_clip has no weights ${shown(tag)} for ${shown(name)} that can be used here`;
  throw new S3aError('MODEL', what, `Give one of these with --pretrained: ${[...tags.keys()].join(', ')}.`);
}

/** An architecture as open_clip writes it: `ViT-L-14-336` for OpenAI's `ViT-L/14@336px`. */
export function plainName(name: string): string {
  return name.replaceAll('/', '-').replace(/@336px$/, '-336');
}
