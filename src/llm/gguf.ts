/** A text model from a local GGUF file, run in this process by node-llama-cpp. */
import { messageOf } from '../errors.ts';
import { type Budget, createBudget } from './budget.ts';
import { oneLine } from './concepts.ts';
import { checkGguf } from './gguf-file.ts';
import { type LlamaLibrary, type LlamaSequence, type LlamaTurn, loadLlamaLibrary } from './llama-library.ts';
import { asJson } from './structured.ts';
import type { TextRequest } from './text-model.ts';
import { checkRequest, type Message, type TextAnswer, type TextModel, TextModelError } from './text-model.ts';

/** Which model, and its limits. */
export interface GgufOptions {
  /** The .gguf file; of a split model the first part. */
  readonly path: string;
  /** The longest that one answer may take, in milliseconds, once its turn has come. */
  readonly timeoutMs?: number;
  /** The most tokens the model may write for one answer. */
  readonly maxTokens?: number;
  /** The most tokens of request and answer together; a model trained on fewer has those. */
  readonly contextSize?: number;
  /** Threads of the arithmetic; without it as many as the library finds good. */
  readonly threads?: number;
  /** How many requests may be answered in all; default any number. */
  readonly budget?: Budget;
  /** What `import('node-llama-cpp')` gives; for programs that have the package elsewhere. */
  readonly load?: () => Promise<unknown>;
}

/**
 * A text model that runs `path` in this process, one request after the other, each held to its JSON schema by a grammar. The
 * weights are loaded with the first request.
 *
 * Throws S3aError READ or `LLM_GGUF` for a file that is no such model, `LLM_LIBRARY` where node-llama-cpp is not installed.
 */
export async function gguf(options: GgufOptions): Promise<TextModel> {
  const { path, timeoutMs = 600_000, maxTokens = 2048, budget = createBudget() } = options;
  const { id } = await checkGguf(path);
  const library = await loadLlamaLibrary(options.load);
  const disposed = new AbortController();
  let opened: Promise<Opened> | undefined;
  let queue: Promise<unknown> = Promise.resolve();

  async function answer(request: TextRequest, signal: AbortSignal): Promise<TextAnswer> {
    signal.throwIfAborted();
    budget.spend(path);
    opened ??= openModel(library, options);
    const { llama, sequence, room } = await opened;
    const turns = turnsOf(request.schema ? asJson(request.messages) : request.messages);
    if (room(turns) < 64) {
      const message = `The request is too long for the context of ${path}.`;
      throw new TextModelError('LLM_REQUEST', message, 'Use a model with a longer context, or fewer --candidates.', {
        scope: 'request',
        retryable: false,
      });
    }
    const limit = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
    // What an earlier request left would be kept for its first words, and could tip a close choice between two words.
    await sequence.clearHistory();
    const chat = new library.LlamaChat({ contextSequence: sequence });
    try {
      const { response } = await chat.generateResponse([...turns, { type: 'model', response: [] }], {
        grammar: request.schema ? await llama.createGrammarForJsonSchema(bounded(request.schema)) : undefined,
        temperature: request.temperature,
        seed: request.seed,
        maxTokens: Math.min(maxTokens, room(turns)),
        signal: limit,
      });
      return { text: response };
    } catch (error) {
      signal.throwIfAborted();
      throw limit.aborted ? tooSlow(path, timeoutMs) : cannotRun(path, error);
    } finally {
      chat.dispose();
    }
  }

  return {
    id: `gguf:${id}`,
    async complete(request, signal) {
      checkRequest(request);
      const either = signal ? AbortSignal.any([signal, disposed.signal]) : disposed.signal;
      const asking = queue.then(() => answer(request, either));
      queue = asking.catch(() => {});
      return asking;
    },
    async dispose() {
      disposed.abort(failure('LLM_DISPOSED', `The text model ${path} is closed.`, undefined));
      await queue;
      await (await opened?.catch(() => undefined))?.llama.dispose();
      opened = undefined;
    },
  };
}

interface Opened {
  readonly llama: Awaited<ReturnType<LlamaLibrary['getLlama']>>;
  readonly sequence: LlamaSequence;
  /** The tokens that are left for the answer to a request. */
  room(turns: readonly LlamaTurn[]): number;
}

async function openModel(library: LlamaLibrary, { path, threads, contextSize = 8192 }: GgufOptions): Promise<Opened> {
  let complaint = '';
  try {
    const llama = await library.getLlama({
      build: 'never',
      skipDownload: true,
      logLevel: 'error',
      // The first complaint says what is wrong, those after it only that something was. It may come after the error.
      logger: (_, message) => {
        complaint ||= message;
      },
      progressLogs: false,
      ...(threads === undefined ? {} : { maxThreads: threads }),
    });
    const model = await llama.loadModel({ modelPath: path });
    const size = Math.min(contextSize, model.trainContextSize);
    const context = await model.createContext({ contextSize: size });
    const tokens = ({ type, ...turn }: LlamaTurn): number =>
      // A few more for what the model's template puts around each turn.
      model.tokenize('text' in turn ? turn.text : (turn as { response: string[] }).response.join('')).length + 16;
    return {
      llama,
      sequence: context.getSequence(),
      room: turns => size - turns.reduce((sum, turn) => sum + tokens(turn), 0),
    };
  } catch (error) {
    throw cannotRun(path, complaint || error);
  }
}

function turnsOf(messages: readonly Message[]): LlamaTurn[] {
  return messages.map(({ role, content }) =>
    role === 'assistant' ? { type: 'model', response: [content] } : { type: role, text: content },
  );
}

/** The schema with lists and texts of bounded length, so that a model that never stops is stopped by its grammar. */
function bounded(schema: object): object {
  const copy = Object.fromEntries(
    Object.entries(schema).map(([key, value]) => [
      key,
      typeof value === 'object' && value !== null && !Array.isArray(value) ? bounded(value as object) : value,
    ]),
  );
  if (copy.type === 'array') return { maxItems: 8, ...copy };
  return copy.type === 'string' ? { maxLength: 60, ...copy } : copy;
}

function tooSlow(path: string, timeoutMs: number): TextModelError {
  const message = `${path} wrote no answer within ${timeoutMs / 1000} s.`;
  return new TextModelError('LLM_TIMEOUT', message, 'A longer --llm-timeout or a smaller model may help.', {
    scope: 'request',
    retryable: true,
  });
}

function cannotRun(path: string, error: unknown): TextModelError {
  const message = `${path} cannot be run: ${oneLine(messageOf(error), 200)}`;
  return failure('LLM_GGUF', message, 'Is there memory enough, and does node-llama-cpp know its architecture?', error);
}

function failure(code: string, message: string, hint: string | undefined, cause?: unknown): TextModelError {
  return new TextModelError(code, message, hint, { scope: 'model', retryable: false, cause });
}
