/** How names and phrases are put into words. */
import { phraseFormats } from '../../discover/realign.ts';
import type { Ablation } from '../ablation.ts';
import { s3a, s3aDiscovery } from '../methods/s3a.ts';
import { scd } from '../methods/scd.ts';

const ONE = ['a photo of a {}.'];

export const prompts: Ablation = {
  name: 'prompts',
  title: 'Prompt styles',
  about: 'Templates of the names and formats of the phrases, and the number of candidates that phrases tell apart.',
  variants({ config: { templates }, trained }) {
    const method = trained ? s3a : s3aDiscovery;
    const inOrder = (order: RegExp): string[] => phraseFormats(templates).filter(format => order.test(format));
    return [
      { name: 'no phrases', method: scd, settings: {} },
      { name: 'as set', method, settings: {} },
      { name: 'both orders', method, settings: { phraseFormats: [] } },
      { name: '"name phrase"', method, settings: { phraseFormats: inOrder(/\{name\} \{phrase\}/) } },
      { name: '"phrase name"', method, settings: { phraseFormats: inOrder(/\{phrase\} \{name\}/) } },
      { name: '"name, which has phrase"', method, settings: { phraseFormats: ['a {name}, which has {phrase}'] } },
      { name: 'one template', method, settings: { templates: ONE } },
      { name: 'the name alone', method, settings: { templates: ['{}'] } },
      { name: '5 candidates', method, settings: { candidates: 5 } },
    ];
  },
};
