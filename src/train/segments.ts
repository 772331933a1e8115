/** The blocks of a traced image tower, as parts whose activations can be computed again. */
import type { ClipConfig } from '../clip/towers/config.ts';
import { layerCount, layerId } from '../clip/towers/initialise.ts';
import { type Node, type Segments, sortNodes, type Tensor } from '../engine/index.ts';

/**
 * Each block (or stage) but the last, from the first node that its weights enter on to where the next one's do. The last one
 * is what the backward pass needs first, so there is nothing to gain by giving its activations away.
 * @param embedding what the tower makes; its weights are states named by a role and, after a dot, their name
 */
export function blockSegments(config: ClipConfig, embedding: Tensor): Segments {
  const layers = new Map<Node, number>();
  const layerOf = ({ source }: Tensor): number => {
    if (source.kind === 'node') return layers.get(source.node)!;
    const isWeight = source.kind === 'input' && source.state;
    return isWeight ? layerId(config, source.name.slice(source.name.indexOf('.') + 1)) : 0;
  };
  for (const node of sortNodes([embedding])) layers.set(node, Math.max(...node.inputs.map(layerOf)));
  const blocks = layerCount(config);
  return node => {
    const layer = layers.get(node) ?? 0;
    return layer > 0 && layer < blocks ? layer : undefined;
  };
}
