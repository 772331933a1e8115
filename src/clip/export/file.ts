/** Writes a graph as an ONNX file, weight by weight; what is too much for one file goes into others beside it. */
import { basename } from 'node:path';
import { Message, nodeProto, OPSET, tensorStart, valueInfoProto } from '../../engine/proto.ts';
import { writeAtomic } from '../../io/atomic-write.ts';
import { bytesOf, type Graph, type Weight } from './graph.ts';

// A message of protocol buffers holds at most 2^31 − 1 bytes, and a browser's buffers little more.
const LIMIT = 1_800_000_000;
// Smaller weights are shapes and scales, which ONNX Runtime wants to see in the graph.
const SMALL = 1024;

export interface WriteOptions {
  /** Most bytes of weights in one file; default 1.8 GB. */
  limit?: number;
  /** Called with the bytes of each weight that is written. */
  onWritten?: (bytes: number) => void;
}

/** A weight that lies in the nth file beside the graph. */
interface Place {
  readonly file: number;
  readonly offset: number;
}

/**
 * Writes `path`, and where the weights exceed the limit `path_data`, `path_data_1`, … (the names that transformers.js looks for).
 * @returns the number of files beside it
 * @throws S3aError WRITE
 */
export async function writeGraph(
  path: string,
  graph: Graph,
  { limit = LIMIT, onWritten }: WriteOptions = {},
): Promise<number> {
  const total = graph.weights.reduce((sum, weight) => sum + bytesOf(weight), 0);
  const { places, files } =
    total > limit ? outside(graph.weights, limit) : { places: new Map<string, Place>(), files: 0 };
  const dataFile = (file: number): string => `${path}_data${file === 0 ? '' : `_${file}`}`;
  const raw = (weight: Weight): Uint8Array => {
    const { buffer, byteOffset, byteLength } = weight.data();
    onWritten?.(byteLength);
    return new Uint8Array(buffer, byteOffset, byteLength);
  };
  for (let file = 0; file < files; file++) {
    await writeAtomic(dataFile(file), async write => {
      for (const weight of graph.weights) if (places.get(weight.name)?.file === file) await write(raw(weight));
    });
  }
  const before = new Message();
  for (const node of graph.nodes) before.message(1, nodeProto(node));
  before.string(2, 's3a');
  const starts = graph.weights.map(weight => {
    const place = places.get(weight.name);
    return place ? elsewhere(weight, basename(dataFile(place.file)), place.offset) : inside(weight);
  });
  const after = new Message();
  for (const { name, type, dimensions } of graph.inputs) after.message(11, valueInfoProto(name, type, dimensions));
  for (const { name, type, dimensions } of graph.outputs) after.message(12, valueInfoProto(name, type, dimensions));
  const sizes = starts.map(
    (start, i) => start.length + (places.has(graph.weights[i].name) ? 0 : bytesOf(graph.weights[i])),
  );
  const length = before.finish().length + sizes.reduce((sum, size) => sum + size, 0) + after.finish().length;
  await writeAtomic(path, async write => {
    await write(new Message().int(1, 9).string(2, 's3a').start(7, length).finish());
    await write(before.finish());
    for (const [i, weight] of graph.weights.entries()) {
      await write(starts[i]);
      if (!places.has(weight.name)) await write(raw(weight));
    }
    await write(after.finish());
    await write(new Message().message(8, new Message().string(1, '').int(2, OPSET)).finish());
  });
  return files;
}

/** Which weights lie in which file. */
function outside(weights: readonly Weight[], limit: number): { places: Map<string, Place>; files: number } {
  const places = new Map<string, Place>();
  let [file, offset] = [0, 0];
  for (const weight of weights) {
    const size = bytesOf(weight);
    if (size < SMALL) continue;
    if (offset > 0 && offset + size > limit) [file, offset] = [file + 1, 0];
    places.set(weight.name, { file, offset });
    offset += size;
  }
  return { places, files: file + 1 };
}

/** All of a graph's initializer up to its bytes. */
function inside(weight: Weight): Uint8Array {
  const tensor = tensorStart(weight.name, weight.type, weight.shape).start(9, bytesOf(weight)).finish();
  return concat(new Message().start(5, tensor.length + bytesOf(weight)).finish(), tensor);
}

/** An initializer whose bytes lie in another file. */
function elsewhere(weight: Weight, location: string, offset: number): Uint8Array {
  const tensor = tensorStart(weight.name, weight.type, weight.shape);
  for (const [key, value] of Object.entries({ location, offset, length: bytesOf(weight) })) {
    tensor.message(13, new Message().string(1, key).string(2, String(value)));
  }
  return new Message().message(5, tensor.int(14, 1)).finish();
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  const joined = new Uint8Array(a.length + b.length);
  joined.set(a);
  joined.set(b, a.length);
  return joined;
}
