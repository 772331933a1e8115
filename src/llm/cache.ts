/** A text model that remembers: every answer is kept on disk, and no request is ever sent twice. */
import { existsSync } from 'node:fs';
import { S3aError } from '../errors.ts';
import { createJsonlWriter, iterateJsonl } from '../io/jsonl.ts';
import {
  checkRequest,
  hashExchange,
  plain,
  type TextAnswer,
  type TextModel,
  type TextRequest,
  toExchange,
} from './text-model.ts';

/** What a cached model has done so far. */
export interface CachedTextModel extends TextModel {
  /** Requests answered from the file, and requests passed on to the model. */
  readonly counts: { readonly hits: number; readonly misses: number };
  /** Answers of this model that the file held when it was opened. */
  readonly kept: number;
  dispose(): Promise<void>;
}

/**
 * Wraps `model` with the append-only file `path`, one exchange a line, keyed by the sha256 of the exact request and the
 * model's id (which holds the base URL). An answer is on its way to the disk before it is handed out; a line torn by a
 * kill costs that one request. Equal requests that are under way at the same time are sent once.
 *
 * Throws `LLM_CACHE` when the file is not such a file, WRITE when it cannot be written (also later, on a full disk).
 */
export async function cached(model: TextModel, path: string): Promise<CachedTextModel> {
  const known = new Map<string, TextAnswer>();
  let kept = 0;
  if (existsSync(path)) {
    let line = 0;
    for await (const value of iterateJsonl(path)) {
      line++;
      const exchange = toExchange(value);
      if (!exchange) {
        throw new S3aError(
          'LLM_CACHE',
          `${path}, line ${line}, is not an exchange with a language model.`,
          'Delete the file, or name another.',
        );
      }
      known.set(hashExchange(exchange.model, exchange.request), exchange.answer);
      if (exchange.model === model.id) kept++;
    }
  }
  const writer = createJsonlWriter(path);
  const underWay = new Map<string, Promise<TextAnswer>>();
  const counts = { hits: 0, misses: 0 };
  let closed = false;

  async function ask(key: string, request: TextRequest, signal: AbortSignal | undefined): Promise<TextAnswer> {
    counts.misses++;
    const { text } = await model.complete(request, signal);
    const answer = { text };
    // After `dispose` the answer has no file to go to; it is still the caller's.
    if (!closed) writer.write({ model: model.id, request: plain(request), answer });
    known.set(key, answer);
    return answer;
  }

  return {
    id: model.id,
    counts,
    kept,
    async complete(request, signal) {
      checkRequest(request);
      signal?.throwIfAborted();
      const key = hashExchange(model.id, request);
      for (;;) {
        const answer = known.get(key);
        if (answer) {
          counts.hits++;
          return answer;
        }
        const other = underWay.get(key);
        if (!other) break;
        // Whoever asked first may be aborted or fail on its own; then this caller asks for itself.
        await other.catch(() => {});
        signal?.throwIfAborted();
      }
      const asking = ask(key, request, signal);
      underWay.set(key, asking);
      try {
        return await asking;
      } finally {
        underWay.delete(key);
      }
    },
    async dispose() {
      if (closed) return;
      closed = true;
      writer.close();
      await model.dispose?.();
    },
  };
}
