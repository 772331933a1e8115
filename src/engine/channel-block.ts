/** How many channels ONNX Runtime's direct convolutions take at once on this machine: 16 with AVX-512, 8 with AVX. */
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { BLOCKS_DOMAIN } from './conv-block-steps.ts';
import { modelProto, nodeProto, valueInfoProto } from './proto.ts';

let known: Promise<number | undefined> | undefined;

/** Channels in a block; undefined where ONNX Runtime has no such convolutions. Asked of it once a process. */
export function channelBlock(): Promise<number | undefined> {
  known ??= measured();
  return known;
}

/** The extent to which four channels are filled up. */
async function measured(): Promise<number | undefined> {
  const model = modelProto({
    domains: [BLOCKS_DOMAIN],
    nodes: [
      nodeProto({ type: 'ReorderInput', domain: BLOCKS_DOMAIN, inputs: ['x'], outputs: ['blocks'] }),
      nodeProto({ type: 'Shape', inputs: ['blocks'], outputs: ['shape'] }),
    ],
    initializers: [],
    inputs: [valueInfoProto('x', 'float32', [1, 4, 1, 'width'])],
    outputs: [valueInfoProto('shape', 'int64', [4])],
  });
  try {
    const session = await InferenceSession.create(model, { logSeverityLevel: 4, intraOpNumThreads: 1 });
    const { shape } = await session.run({ x: new Tensor('float32', new Float32Array(4), [1, 4, 1, 1]) });
    await session.release();
    return Number((shape.data as BigInt64Array)[1]);
  } catch {
    return undefined;
  }
}
