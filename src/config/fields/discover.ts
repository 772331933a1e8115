/** The settings of discovery (METHOD §2 and §4): names, features, clusters, votes, and which names the prompts tell apart. */
import { z } from 'zod';
import { TEMPLATES } from '../../clip/prototypes.ts';
import { count, share, text } from './kinds.ts';

const template = text().refine(t => t.includes('{}'), 'a text with {} where the name goes');
const phraseFormat = text().refine(
  t => t.includes('{name}') && t.includes('{phrase}'),
  'a text with {name} and {phrase} in it',
);

export const discoverFields = {
  vocab: text()
    .default('in21k')
    .describe('Names to choose from: in21k, in1k, wordnet, demo, or a .txt, .csv or .json file'),
  embeddings: text()
    .optional()
    .describe('Features of any encoder instead of images: a .npy of float32 or float16, a row an image'),
  prototypes: text()
    .optional()
    .describe("A .npy of the names' features by the same model's text encoder, with --embeddings"),
  names: text().optional().describe('A .json array of the names of these rows, with --embeddings'),
  rows: text().optional().describe('A .json array of what the rows of --embeddings are called; default their numbers'),
  logitScale: z
    .number()
    .positive()
    .max(1e6)
    .optional()
    .describe("Factor of cosines before the softmax of confidences; default the model's own, 100 with --embeddings"),
  method: z
    .enum(['auto', 's3a'])
    .default('auto')
    .describe('How clusters get their names: auto, or s3a as the paper has it'),
  k: z
    .union([count(1, 1_000_000), z.literal('estimate'), z.literal('auto')])
    .default('auto')
    .describe(
      'Number of kinds of things, estimate to search for it, or auto: the estimate, over-clustered by any method',
    ),
  overCluster: z
    .number()
    .min(1)
    .max(10)
    .default(1.15)
    .describe('Clusters as a multiple of --k: with --method auto, which merges those of one name, or with --k auto'),
  kMin: count(2, 1_000_000).default(50).describe('Least number of clusters that estimate tries'),
  kMax: count(2, 1_000_000).default(2000).describe('Greatest number of clusters that estimate tries'),
  nInit: count(1, 1000).default(17).describe('Starts of k-means; the best is kept'),
  maxIterations: count(1, 1_000_000).default(1000).describe('Most iterations of a k-means start'),
  rounds: count(1, 100).default(3).describe('Rounds of vote and re-assignment'),
  voteTop: count(1, 100).default(5).describe("Names that share an image's vote, with --method auto"),
  hubCorrection: share()
    .default(0)
    .describe('How much names that are near every image are held back, with --method auto'),
  manyToOne: z.boolean().default(true).describe('Let several clusters take one name, with --method auto'),
  unknownBelow: share()
    .default(0.1)
    .describe(
      "Least share of a group's votes that its name must have, with --method auto; otherwise the group is unknown",
    ),
  neighbours: count(0, 1000)
    .default(10)
    .describe('Images like it that an image is smoothed with, with --method auto; 0 for none'),
  smoothing: z.number().min(0).max(1000).default(7).describe('Weight of these neighbours'),
  promptMargin: share()
    .optional()
    .describe(
      "With --method auto: ask about groups whose second name's votes come this near to the first's, 0 none, 1 all; default 0.5 with a language model, 0 with gloss",
    ),
  minConfidence: share().default(0).describe('Labels that are less probable than this become unknown'),
  candidates: count(1, 100).default(3).describe('Names a cluster that the prompts tell apart'),
  templates: z
    .array(template)
    .min(1)
    .default([...TEMPLATES])
    .describe('Text that a name is put into, with {} for the name; repeatable')
    .meta({ flag: 'template' }),
  phraseFormats: z
    .array(phraseFormat)
    .default([])
    .describe('Text with {name} and {phrase}; repeatable. Without any, both orders in every template')
    .meta({ flag: 'phrase-format' }),
};
