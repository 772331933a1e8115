/**
 * Running without the Node binding's copies.
 *
 * ONNX Runtime fills the buffers that outputs are given, and then its Node binding, as of 1.30, copies every output once more
 * into a new array, which takes longer than the update of the weights. Nobody needs these arrays, so models have an output before
 * all others that the binding has no array for: it gives up there, with everything computed and nothing copied. A binding that
 * would fill the buffers later would leave them as they were, so a small model is asked once a process.
 */
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { messageOf } from '../errors.ts';
import { modelProto, nodeProto, sequenceInfoProto, valueInfoProto } from './proto.ts';

let known: Promise<boolean> | undefined;

/** Whether outputs after one that the binding gives up at are filled all the same. */
export function fillsUncopied(): Promise<boolean> {
  known ??= measured();
  return known;
}

async function measured(): Promise<boolean> {
  const model = modelProto({
    nodes: [
      nodeProto({ type: 'SequenceEmpty', inputs: [], outputs: ['unread'] }),
      nodeProto({ type: 'Neg', inputs: ['x'], outputs: ['y'] }),
    ],
    initializers: [],
    inputs: [valueInfoProto('x', 'float32', [1])],
    outputs: [sequenceInfoProto('unread', 'float32'), valueInfoProto('y', 'float32', [1])],
  });
  const session = await InferenceSession.create(model, { logSeverityLevel: 4, intraOpNumThreads: 1 });
  const filled = new Float32Array(1);
  const x = new Tensor('float32', Float32Array.of(1), [1]);
  await runInto(session, { x }, { unread: null, y: new Tensor('float32', filled, [1]) });
  await session.release();
  return filled[0] === -1;
}

/** Runs into the tensors of `fetches`, of which the first may be the one that the binding gives up at. */
export async function runInto(
  session: InferenceSession,
  feeds: Record<string, Tensor>,
  fetches: Record<string, Tensor | null>,
): Promise<void> {
  try {
    await session.run(feeds, fetches);
  } catch (error) {
    if (!messageOf(error).startsWith('Non tensor type is temporarily not supported')) throw error;
  }
}
