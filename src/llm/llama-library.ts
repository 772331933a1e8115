/** The part of node-llama-cpp 3 that is used, an optional package, and how it is loaded. */
import { messageOf, S3aError } from '../errors.ts';

export interface LlamaLibrary {
  getLlama(options: {
    build: 'never';
    skipDownload: boolean;
    logLevel: 'error';
    logger: (level: string, message: string) => void;
    progressLogs: boolean;
    maxThreads?: number;
  }): Promise<Llama>;
  readonly LlamaChat: new (options: { contextSequence: LlamaSequence }) => LlamaChat;
}

export interface Llama {
  loadModel(options: { modelPath: string }): Promise<LlamaModel>;
  createGrammarForJsonSchema(schema: object): Promise<unknown>;
  dispose(): Promise<void>;
}

export interface LlamaModel {
  readonly trainContextSize: number;
  createContext(options: { contextSize: number }): Promise<LlamaContext>;
  tokenize(text: string): readonly number[];
}

export interface LlamaContext {
  getSequence(): LlamaSequence;
}

export interface LlamaSequence {
  clearHistory(): Promise<void>;
}

export type LlamaTurn =
  | { readonly type: 'system' | 'user'; readonly text: string }
  | { readonly type: 'model'; readonly response: string[] };

export interface LlamaChat {
  generateResponse(
    history: LlamaTurn[],
    options: { grammar?: unknown; temperature: number; seed: number; maxTokens: number; signal: AbortSignal },
  ): Promise<{ readonly response: string }>;
  dispose(): void;
}

const NAME: string = 'node-llama-cpp';

/** Loads node-llama-cpp; throws S3aError `LLM_LIBRARY` where it is not installed or is of another kind. */
export async function loadLlamaLibrary(load: () => Promise<unknown> = () => import(NAME)): Promise<LlamaLibrary> {
  let loaded: Partial<LlamaLibrary>;
  try {
    loaded = (await load()) as Partial<LlamaLibrary>;
  } catch (error) {
    const absent = (error as NodeJS.ErrnoException).code === 'ERR_MODULE_NOT_FOUND' && messageOf(error).includes(NAME);
    throw new S3aError(
      'LLM_LIBRARY',
      absent
        ? 'GGUF models need the package node-llama-cpp, which is not installed'
        : `cannot load ${NAME}: ${messageOf(error)}`,
      `Install it beside s3a: npm install ${NAME}@3 (with -g where s3a is installed so).`,
      { cause: error },
    );
  }
  if (typeof loaded.getLlama === 'function' && typeof loaded.LlamaChat === 'function') return loaded as LlamaLibrary;
  throw new S3aError('LLM_LIBRARY', `the ${NAME} that is installed is not of version 3`, `npm install ${NAME}@3`);
}
