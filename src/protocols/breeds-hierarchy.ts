/** The hierarchy of BREEDS, from its owners' files, and the classes of ImageNet below its nodes. */
import { join } from 'node:path';
import { S3aError } from '../errors.ts';
import { linesOf, need, textOf } from './data-folder.ts';
import { legacyRandom } from './legacy-random.ts';

/** How one of the sets is cut out: nodes at a level, below an ancestor, with at least so many classes, of which so many are drawn. */
export interface BreedsCut {
  level: number;
  ancestor?: string;
  perNode: number;
}

export interface BreedsClasses {
  /** Nodes of the cut with the classes drawn for each. */
  groups: { node: string; leaves: string[] }[];
}

export const HIERARCHY = {
  title: 'BREEDS',
  source:
    'https://github.com/MadryLab/BREEDS-Benchmarks (imagenet_class_hierarchy/modified: class_hierarchy.txt and dataset_class_info.json)',
} as const;

/** Where the two files may lie below the data folder. */
const PLACES = [
  'imagenet_class_hierarchy/modified',
  'BREEDS-Benchmarks/imagenet_class_hierarchy/modified',
  'breeds/modified',
  'modified',
];
const ROOT = 'n00001740';
const SEED = 2;
const MAX_EDGES = 1_000_000;
const MAX_DEPTH = 64;

/**
 * Cuts the hierarchy as its owners' `get_superclasses(level, Nsubclasses, split=None, ancestor, balanced=True)` does, with their seed.
 * @throws S3aError DATASET when the files are not there or contradict each other
 */
export async function readBreeds(folder: string, { level, ancestor, perNode }: BreedsCut): Promise<BreedsClasses> {
  const edgesPath = await need(
    folder,
    PLACES.map(place => `${place}/class_hierarchy.txt`),
    HIERARCHY,
  );
  const leaves = await readLeaves(join(edgesPath, '..', 'dataset_class_info.json'));
  const children = childrenOf(await linesOf(edgesPath), leaves, edgesPath);
  if (!children.has(ROOT)) throw bad(edgesPath, `no class lies below ${ROOT}`);
  const below = ancestor === undefined ? undefined : reachable(children, ancestor);
  const levels = longestPaths(children, edgesPath);
  const nodes = [...levels.keys()].filter(node => levels.get(node) === level && (below?.has(node) ?? true)).sort();
  const rng = legacyRandom(SEED);
  const groups: BreedsClasses['groups'] = [];
  for (const node of nodes) {
    const own = leavesBelow(children, leaves, node);
    if (own.length < perNode) continue;
    groups.push({ node, leaves: Array.from(rng.permutation(own.length).subarray(0, perNode), i => own[i]) });
  }
  return { groups };
}

/** Ids of ImageNet's classes: `[[0, "n01440764", "tench, Tinca tinca"], …]`. */
async function readLeaves(path: string): Promise<ReadonlySet<string>> {
  let entries: unknown;
  try {
    entries = JSON.parse(await textOf(path));
  } catch (error) {
    if (error instanceof S3aError) throw error;
    throw bad(path, 'it is not valid JSON');
  }
  const ids = new Set<string>();
  for (const entry of Array.isArray(entries) ? entries : []) {
    const id: unknown = Array.isArray(entry) ? entry[1] : undefined;
    if (typeof id !== 'string' || !/^n\d{8}$/.test(id)) throw bad(path, 'an entry is not [number, id, names]');
    ids.add(id);
  }
  if (ids.size === 0) throw bad(path, 'it lists no classes');
  return ids;
}

/** Children of every node that has a class below it; an edge is `parent child`. */
function childrenOf(lines: readonly string[], leaves: ReadonlySet<string>, path: string): Map<string, Set<string>> {
  if (lines.length > MAX_EDGES) throw bad(path, `it has ${lines.length} edges`);
  const parents = new Map<string, string[]>();
  for (const [i, line] of lines.entries()) {
    const [parent, child, ...more] = line.trim().split(/\s+/);
    if (child === undefined || more.length > 0) throw bad(path, `line ${i + 1} is not a parent and a child`);
    const known = parents.get(child);
    if (known) known.push(parent);
    else parents.set(child, [parent]);
  }
  const children = new Map<string, Set<string>>();
  const seen = new Set<string>();
  const open = [...leaves];
  for (let node = open.pop(); node !== undefined; node = open.pop()) {
    if (seen.has(node)) continue;
    seen.add(node);
    for (const parent of parents.get(node) ?? []) {
      const own = children.get(parent) ?? new Set();
      children.set(parent, own.add(node));
      open.push(parent);
    }
  }
  return children;
}

function reachable(children: ReadonlyMap<string, ReadonlySet<string>>, from: string): Set<string> {
  const seen = new Set<string>();
  const open = [from];
  for (let node = open.pop(); node !== undefined; node = open.pop()) {
    if (seen.has(node)) continue;
    seen.add(node);
    open.push(...(children.get(node) ?? []));
  }
  return seen;
}

/** The length of the longest path from the root to each node. */
function longestPaths(children: ReadonlyMap<string, ReadonlySet<string>>, path: string): Map<string, number> {
  const levels = new Map<string, number>();
  let layer = new Set([ROOT]);
  for (let level = 0; layer.size > 0; level++) {
    if (level > MAX_DEPTH) throw bad(path, 'its edges go in a circle');
    const next = new Set<string>();
    for (const node of layer) {
      levels.set(node, level);
      for (const child of children.get(node) ?? []) next.add(child);
    }
    layer = next;
  }
  return levels;
}

/** Classes below a node, and the node itself when it is one; what lies below a class is not looked at. */
function leavesBelow(
  children: ReadonlyMap<string, ReadonlySet<string>>,
  leaves: ReadonlySet<string>,
  from: string,
): string[] {
  const found = new Set(leaves.has(from) ? [from] : []);
  const seen = new Set<string>();
  const open = [from];
  for (let node = open.pop(); node !== undefined; node = open.pop()) {
    if (seen.has(node)) continue;
    seen.add(node);
    for (const child of children.get(node) ?? []) {
      if (leaves.has(child)) found.add(child);
      else open.push(child);
    }
  }
  return [...found].sort();
}

function bad(path: string, what: string): S3aError {
  return new S3aError('DATASET', `${path} is no file of BREEDS: ${what}`, `Get it from ${HIERARCHY.source}.`);
}
