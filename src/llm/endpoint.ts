/** Where an OpenAI-compatible API is, and which key goes there. */
import { S3aError } from '../errors.ts';

/** What the user said about the place; the environment says the rest. */
export interface EndpointOptions {
  /** An address, or `openai`, `ollama`, `vllm`, `llama.cpp`, `lmstudio` for where these are by default. */
  readonly baseUrl?: string;
  readonly key?: string;
  readonly environment?: Readonly<Record<string, string | undefined>>;
}

/** A place to ask. */
export interface Endpoint {
  /** Without a slash at its end, a user, a query or a fragment. */
  readonly baseUrl: string;
  readonly key: string | undefined;
  /** The environment variable to set the key of this place with. */
  readonly keyVariable: string;
  /** Whether the OPENAI_* variables of the environment are about this place. */
  readonly own: boolean;
}

const official = 'https://api.openai.com/v1';

/** Where servers are by their own defaults, by the names that stand for their addresses. */
const places: Readonly<Record<string, string>> = {
  openai: official,
  ollama: 'http://127.0.0.1:11434/v1',
  vllm: 'http://127.0.0.1:8000/v1',
  'llama.cpp': 'http://127.0.0.1:8080/v1',
  lmstudio: 'http://127.0.0.1:1234/v1',
};

/**
 * Base URL and key that belong together: OPENAI_API_KEY is never sent to a place it was not set for.
 *
 * Throws `LLM_CONFIG` for a base URL that is none or holds a secret, and for a key that cannot be one.
 */
export function endpoint({ baseUrl, key, environment = process.env }: EndpointOptions): Endpoint {
  const given = baseUrl || environment.S3A_LLM_BASE_URL || environment.OPENAI_BASE_URL || official;
  const url = Object.hasOwn(places, given) ? places[given] : given;
  const own = trimSlashes(url) === trimSlashes(environment.OPENAI_BASE_URL || official);
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (!parsed || !/^https?:$/.test(parsed.protocol)) {
    throw new S3aError(
      'LLM_CONFIG',
      'The base URL of the language model is not an http(s) address.',
      `Give one such as ${official}, or one of ${Object.keys(places).join(', ')}.`,
    );
  }
  if (parsed.username || parsed.password || parsed.search || parsed.hash) {
    throw new S3aError(
      'LLM_CONFIG',
      `The base URL at ${parsed.host} holds a user, a query or a fragment, which would end in logs.`,
      'Put the key into S3A_LLM_KEY and leave the address plain.',
    );
  }
  const found = (key || environment.S3A_LLM_KEY || (own ? environment.OPENAI_API_KEY : undefined))?.trim();
  const keyVariable = own && !environment.S3A_LLM_KEY ? 'OPENAI_API_KEY' : 'S3A_LLM_KEY';
  if (found && !/^[\x21-\x7e]+$/.test(found)) {
    throw new S3aError(
      'LLM_CONFIG',
      'The key of the language model holds spaces or other characters no key has.',
      `Check ${keyVariable}.`,
    );
  }
  return {
    baseUrl: trimSlashes(`${parsed.origin}${parsed.pathname}`),
    key: found || undefined,
    keyVariable,
    own,
  };
}

function trimSlashes(url: string): string {
  let end = url.length;
  while (url[end - 1] === '/') end--;
  return url.slice(0, end);
}
