/** A graph in half precision with inputs and outputs in single precision, as transformers.js's fp16 models are. */
import type { TensorData } from '../../engine/index.ts';
import { DATA_TYPE, type NodeFields } from '../../engine/proto.ts';
import { float32ToFloat16 } from '../../io/float16.ts';
import type { Graph, Weight } from './graph.ts';

const LARGEST = 65504;

/** The graph with all float32 values as float16; those beyond its range become its largest. */
export function toFloat16(graph: Graph): Graph {
  const halved = new Map<string, string>();
  const casts: NodeFields[] = [];
  const cast = (from: string, to: string, type: 'float16' | 'float32'): NodeFields => ({
    type: 'Cast',
    inputs: [from],
    outputs: [to],
    attributes: { to: DATA_TYPE[type] },
  });
  for (const { name, type } of graph.inputs) {
    if (type !== 'float32') continue;
    halved.set(name, `:${name}:float16`);
    casts.push(cast(name, `:${name}:float16`, 'float16'));
  }
  const back: NodeFields[] = [];
  for (const { name, type } of graph.outputs) {
    if (type !== 'float32') continue;
    halved.set(name, `:${name}:float16`);
    back.push(cast(`:${name}:float16`, name, 'float32'));
  }
  const rename = (name: string): string => halved.get(name) ?? name;
  const nodes = graph.nodes.map(node => ({
    ...node,
    inputs: node.inputs.map(rename),
    outputs: node.outputs.map(rename),
    attributes:
      node.type === 'Cast' && node.attributes?.to === DATA_TYPE.float32
        ? { ...node.attributes, to: DATA_TYPE.float16 }
        : node.attributes,
  }));
  return { ...graph, nodes: [...casts, ...nodes, ...back], weights: graph.weights.map(halfWeight) };
}

function halfWeight(weight: Weight): Weight {
  if (weight.type !== 'float32') return weight;
  return { ...weight, type: 'float16', data: () => halfValues(weight.data()) };
}

function halfValues(values: TensorData | Int8Array): Uint16Array {
  const float = values as Float32Array;
  const fits = float.every(value => Math.abs(value) <= LARGEST);
  return float32ToFloat16(fits ? float : float.map(value => Math.max(-LARGEST, Math.min(LARGEST, value))));
}
