/** The thread that owns an ONNX Runtime session: `run` blocks, so it must not block the caller. */
import { parentPort, workerData } from 'node:worker_threads';
import { messageOf } from '../errors.ts';
import type { TensorData } from './graph.ts';
import { openOnGpu } from './session-gpu.ts';
import { openOnHost } from './session-host.ts';
import type { OpenSession, SessionPlan } from './session-plan.ts';
import type { WorkerReply, WorkerRequest } from './session-thread.ts';
import { buffersOf } from './tensor-data.ts';

interface Answer {
  readonly value?: Record<string, TensorData>;
  /** Nobody else has the values, so they are moved to the caller. */
  readonly moves?: boolean;
  /** Memory that the caller lent. */
  readonly back?: ArrayBuffer[];
}

const plan = workerData as SessionPlan;
const port = parentPort!;
const opened = plan.device === 'webgpu' ? openOnGpu(plan) : openOnHost(plan);

async function answer(session: OpenSession, request: WorkerRequest): Promise<Answer> {
  switch (request.kind) {
    case 'run':
      return { value: await session.run(request.data, request.staged), back: request.lent };
    case 'stage':
      await session.stage?.(request.number, request.data);
      return { back: request.lent };
    case 'get':
      return { value: await session.get(request.names), moves: session.getsCopies };
    case 'set':
      await session.set(request.data);
      return {};
    case 'dispose':
      await session.release();
      return {};
  }
}

async function reply(id: number, work: Promise<Answer>): Promise<void> {
  try {
    const { value, back = [], moves = false } = await work;
    port.postMessage({ id, value, back } satisfies WorkerReply, moves ? buffersOf(value!) : back);
  } catch (error) {
    port.postMessage({ id, error: messageOf(error) } satisfies WorkerReply);
  }
}

let queue = reply(
  0,
  opened.then(() => ({})),
);
port.on('message', (request: WorkerRequest) => {
  // Feeds are staged while a run is under way.
  if (request.kind === 'stage') {
    const taken = opened.then(async session => answer(session, request));
    void reply(request.id, taken);
  } else {
    queue = queue.then(async () => reply(request.id, answer(await opened, request)));
  }
});
