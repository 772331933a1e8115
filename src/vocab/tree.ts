/** What stands above and below a word in a vocabulary, to be looked at. */
import type { Hierarchy, HierarchyConcept } from './hierarchy.ts';

/** A concept in a path or tree. */
export interface TreeStep {
  name: string;
  synset?: string;
  inVocabulary: boolean;
}

export interface TreeNode extends TreeStep {
  /** How many other concepts of the vocabulary are below it, at any depth. */
  below: number;
  /** Direct hyponyms by name; left out where the tree was cut. */
  children?: TreeNode[];
}

/** One meaning of a word. */
export interface WordTree extends HierarchyConcept {
  /** From a root to the concept itself, each way there is, at most 20. */
  paths: TreeStep[][];
  tree: TreeNode;
}

export interface TreeOptions {
  /** Levels below the word, default 3. */
  depth?: number;
  /** Most nodes of one tree; the nearest ones are kept. Default 5,000. */
  most?: number;
}

const MAX_PATHS = 20;

/** The trees of all meanings of a word, by its name, a synonym or a synset; none when it is not there. */
export function wordTrees(
  hierarchy: Hierarchy,
  word: string,
  { depth = 3, most = 5000 }: TreeOptions = {},
): WordTree[] {
  const counts = new Map<number, number>();
  const below = (node: number): number => {
    const known = counts.get(node) ?? countBelow(hierarchy, node);
    counts.set(node, known);
    return known;
  };
  return hierarchy.find(word).map(node => ({
    ...hierarchy.concept(node),
    paths: pathsTo(hierarchy, node).map(path => path.map(at => stepOf(hierarchy, at))),
    tree: treeBelow(hierarchy, node, depth, most, below),
  }));
}

function stepOf(hierarchy: Hierarchy, node: number): TreeStep {
  const { name, synset, inVocabulary } = hierarchy.concept(node);
  return { name, ...(synset !== undefined && { synset }), inVocabulary };
}

/** A node with the way down from it to where the climb began; shared tails keep long ways cheap. */
interface Way {
  node: number;
  down?: Way;
}

/** At most MAX_PATHS ways from a root down to the node. */
function pathsTo({ parents }: Hierarchy, node: number): number[][] {
  const paths: number[][] = [];
  // Every way up ends at a root, so none of the work is for nothing, however many ways there are.
  const open: Way[] = [{ node }];
  for (let way = open.pop(); way && paths.length < MAX_PATHS; way = open.pop()) {
    const above = parents(way.node);
    for (const parent of above.slice(0, MAX_PATHS).toReversed()) open.push({ node: parent, down: way });
    if (above.length > 0) continue;
    const path: number[] = [];
    for (let at: Way | undefined = way; at; at = at.down) path.push(at.node);
    paths.push(path);
  }
  return paths;
}

function countBelow(hierarchy: Hierarchy, node: number): number {
  const seen = new Set<number>();
  const open = [...hierarchy.children(node)];
  let count = 0;
  for (let at = open.pop(); at !== undefined; at = open.pop()) {
    if (seen.has(at)) continue;
    seen.add(at);
    if (hierarchy.has(at)) count++;
    for (const child of hierarchy.children(at)) open.push(child);
  }
  return count;
}

function treeBelow(
  hierarchy: Hierarchy,
  root: number,
  depth: number,
  most: number,
  below: (node: number) => number,
): TreeNode {
  const make = (node: number): TreeNode => ({ ...stepOf(hierarchy, node), below: below(node) });
  const tree = make(root);
  let left = most - 1;
  let level = [{ node: root, made: tree }];
  for (let d = 0; d < depth; d++) {
    const next: typeof level = [];
    for (const { node, made } of level) {
      const children = hierarchy.children(node);
      if (children.length === 0 || children.length > left) continue;
      left -= children.length;
      const found = children.map(child => ({ node: child, made: make(child) }));
      found.sort((a, b) => (a.made.name < b.made.name ? -1 : a.made.name > b.made.name ? 1 : a.node - b.node));
      made.children = found.map(one => one.made);
      next.push(...found);
    }
    level = next;
  }
  return tree;
}
