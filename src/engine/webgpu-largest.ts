/**
 * The largest entry of a row under WebGPU. ONNX Runtime's `TopK` sorts the row there, whatever is asked for: one of 20,000 names in 120
 * passes. Its positions are int64, which only the processor reads. So the entry is a maximum, and its position another.
 */
import type { Node, Tensor } from './graph.ts';
import type { OnnxWriter } from './onnx-writer.ts';
import { DATA_TYPE } from './proto.ts';

/** The node of which these are the positions, if it is one of a single largest entry. */
export function largestOf({ source }: Tensor): Node<'TopK'> | undefined {
  if (source.kind !== 'node' || source.node.operator !== 'TopK' || source.index !== 1) return undefined;
  const node = source.node as Node<'TopK'>;
  return node.attributes.k === 1 ? node : undefined;
}

/** Writes the first position of the largest entry, int32. */
export function positionOfLargest(
  w: OnnxWriter,
  { inputs: [x], outputs: [largest] }: Node<'TopK'>,
  to: string[],
): void {
  const width = x.shape.at(-1)!;
  const [hit, candidate, first] = [w.fresh(), w.fresh(), w.fresh()];
  // Exact in float32 for rows of up to 2^24 entries.
  const positions = w.constant(
    'float32',
    [width],
    Float32Array.from({ length: width }, (_, i) => i),
  );
  w.emit('Equal', [w.name(x), w.name(largest)], [hit]);
  w.emit('Where', [hit, positions, w.scalar('float32', width - 1)], [candidate]);
  w.emit('ReduceMin', [candidate, w.ints([-1])], [first], { keepdims: 1 });
  w.emit('Cast', [first], to, { to: DATA_TYPE.int32 });
}
