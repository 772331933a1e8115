/** The thread of a session (session-worker.ts) as its caller has it: questions, and the answers that are awaited. */
import { Worker } from 'node:worker_threads';
import './telemetry.ts';
import { messageOf, S3aError } from '../errors.ts';
import { workerUrl } from '../worker-url.ts';
import { runError } from './device.ts';
import { FeedBuffers } from './feed-buffers.ts';
import type { TensorData } from './graph.ts';
import type { SessionPlan } from './session-plan.ts';
import { compact } from './tensor-data.ts';

type Question =
  /** What is lent comes back with the answer. */
  | { kind: 'run'; data: Record<string, TensorData>; lent?: ArrayBuffer[]; staged?: number }
  /** Answered when the memory is free; questions after it do not wait for that. */
  | { kind: 'stage'; number: number; data: Record<string, TensorData>; lent: ArrayBuffer[] }
  | { kind: 'set'; data: Record<string, TensorData> }
  | { kind: 'get'; names: string[] }
  | { kind: 'dispose' };

export type WorkerRequest = Question & { id: number };

/** An answer; number 0 comes once the session is open. */
export interface WorkerReply {
  id: number;
  value?: Record<string, TensorData>;
  /** Memory that was lent. */
  back?: ArrayBuffer[];
  error?: string;
}

const disposed = (): S3aError => new S3aError('RUN', 'the session has been disposed');

/** The worker and the questions it has not answered yet. */
export class SessionThread {
  /** Settles when the session is open, or cannot be. */
  readonly ready: Promise<unknown>;
  readonly #worker: Worker;
  readonly #feeds = new FeedBuffers();
  readonly #pending = new Map<number, { resolve: (value: WorkerReply['value']) => void; reject: (e: Error) => void }>();
  #ended: Error | undefined;
  #disposal: Promise<void> | undefined;
  #id = 0;

  constructor(plan: SessionPlan) {
    this.#worker = new Worker(workerUrl('./session-worker.js', import.meta.url), {
      workerData: plan,
      // Flags of the caller's process such as --input-type do not suit a worker.
      execArgv: [],
    });
    this.ready = new Promise((resolve, reject) => this.#pending.set(0, { resolve, reject }));
    this.#worker.on('message', (reply: WorkerReply) => {
      const waiting = this.#pending.get(reply.id)!;
      this.#pending.delete(reply.id);
      if (reply.back) this.#feeds.takeBack(reply.back);
      if (this.#pending.size === 0) this.#worker.unref();
      if (reply.error === undefined) waiting.resolve(reply.value);
      else waiting.reject(runError(reply.error));
    });
    this.#worker.on('error', error => this.#end(new S3aError('RUN', `the session's thread died: ${messageOf(error)}`)));
    this.#worker.on('exit', code => this.#end(new S3aError('RUN', `the session's thread ended with code ${code}`)));
  }

  /**
   * Asks the thread; it answers in the order of the questions.
   * @param moved memory that is handed over, and empty here from then on
   * @throws S3aError RUN when the thread has ended, or ONNX Runtime fails
   */
  ask(question: Question, moved: ArrayBuffer[] = []): Promise<WorkerReply['value']> {
    return this.#ended ? Promise.reject(this.#ended) : this.#send(question, moved);
  }

  /** Runs with copies of feeds, which stay the caller's; throws as `ask`. */
  run(feeds: Record<string, TensorData>): Promise<WorkerReply['value']> {
    const { data, lent } = this.#feeds.lend(feeds);
    return this.ask({ kind: 'run', data: compact(data), lent }, lent);
  }

  /** Hands over copies of the feeds of a later run, which names them by this number. */
  stage(number: number, feeds: Record<string, TensorData>): void {
    const { data, lent } = this.#feeds.lend(feeds);
    // Where the thread ends before that run, the run says so.
    this.ask({ kind: 'stage', number, data: compact(data), lent }, lent).catch(() => undefined);
  }

  /** Waits for the questions under way, takes no new ones and ends the thread; a second call changes nothing. */
  dispose(): Promise<void> {
    this.#disposal ??= this.#dispose();
    return this.#disposal;
  }

  /** Ends the thread at once. */
  async terminate(): Promise<void> {
    this.#end(disposed());
    await this.#worker.terminate();
  }

  #send(question: Question, moved: ArrayBuffer[] = []): Promise<WorkerReply['value']> {
    const id = ++this.#id;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      // An idle session must not keep the process alive; one with work to do must.
      this.#worker.ref();
      this.#worker.postMessage({ ...question, id } satisfies WorkerRequest, moved);
    });
  }

  async #dispose(): Promise<void> {
    if (this.#ended) return;
    const released = this.#send({ kind: 'dispose' });
    this.#ended = disposed();
    try {
      await released;
    } finally {
      await this.terminate();
    }
  }

  #end(reason: Error): void {
    this.#ended ??= reason;
    for (const { reject } of this.#pending.values()) reject(this.#ended);
    this.#pending.clear();
  }
}
