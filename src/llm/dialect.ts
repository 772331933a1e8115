/** What one OpenAI-compatible server takes: parameters and answer formats that it refuses are left out from then on. */
import { APIError } from 'openai';
import type { ChatCompletionCreateParamsNonStreaming } from 'openai/resources/chat/completions';
import { asJson } from './structured.ts';
import type { TextRequest } from './text-model.ts';

/** What not every server takes, in the words in which servers complain. */
const OPTIONAL = ['temperature', 'seed', 'max_tokens'] as const;
type Optional = (typeof OPTIONAL)[number];

/** How an answer is asked for, the strictest way first. */
const FORMATS = ['json_schema', 'json_object', 'text'] as const;
export type AnswerFormat = (typeof FORMATS)[number];

const aboutFormat = /response_format|json|schema|grammar|guided|structured/i;
/** A server that fails for another reason may well speak of JSON, and is only asked again. */
const aboutSchema = /response_format|json_schema|grammar|guided|structured/i;

/** One request as it is sent, with what it relied on. */
export interface Sent {
  readonly body: ChatCompletionCreateParamsNonStreaming;
  readonly format: AnswerFormat;
  readonly params: ReadonlySet<Optional>;
}

/** What is known of a server. */
export interface Dialect {
  /** The request in the words that the server understands. */
  write(request: TextRequest): Sent;
  /** Notes that the server took this. */
  accepted(sent: Sent): void;
  /** Draws the lesson of a refusal; true when the request would now be written otherwise, so that it may be sent again. */
  learn(thrown: unknown, sent: Sent): boolean;
}

/** A server of which nothing is known: everything is sent to it, and answers are asked for as JSON of a schema. */
export function createDialect(model: string, maxTokens: number): Dialect {
  const left = new Set<Optional>();
  const taken = new Set<AnswerFormat>();
  let format: AnswerFormat = 'json_schema';

  return {
    write(request) {
      const used = request.schema ? format : 'text';
      const params = new Set(OPTIONAL.filter(name => !left.has(name)));
      return { body: bodyOf(request, model, maxTokens, params, used), format: used, params };
    },
    accepted(sent) {
      taken.add(sent.format);
    },
    learn(thrown, sent) {
      if (!(thrown instanceof APIError)) return false;
      const { status, param, message } = thrown;
      const refused = status === 400 || status === 422;
      const name = refused
        ? OPTIONAL.find(of => sent.params.has(of) && (param === of || message.includes(of)))
        : undefined;
      if (name) {
        left.add(name);
        return true;
      }
      // Some servers fail on a schema that they cannot make a grammar of, and some refuse it without a word about it.
      const failed = status === 500 || status === 501;
      const named = (refused && aboutFormat.test(`${param ?? ''} ${message}`)) || (failed && aboutSchema.test(message));
      if (sent.format === 'text' || !(named || (refused && !taken.has(sent.format)))) return false;
      const next = FORMATS.indexOf(sent.format) + 1;
      // Requests that were under way together are refused together; the second of them steps no further down.
      if (next > FORMATS.indexOf(format)) format = FORMATS[next];
      return true;
    },
  };
}

function bodyOf(
  { messages, temperature, seed, schema }: TextRequest,
  model: string,
  maxTokens: number,
  params: ReadonlySet<Optional>,
  format: AnswerFormat,
): ChatCompletionCreateParamsNonStreaming {
  const worded = format === 'text' ? messages : asJson(messages);
  return {
    model,
    messages: worded.map(({ role, content }) => ({ role, content })),
    ...(params.has('temperature') ? { temperature } : {}),
    ...(params.has('seed') ? { seed } : {}),
    // OpenAI's newer models know the limit only by its newer name, most other servers only by the older.
    ...(params.has('max_tokens') ? { max_tokens: maxTokens } : { max_completion_tokens: maxTokens }),
    ...(format === 'json_object' ? { response_format: { type: 'json_object' } } : {}),
    ...(format === 'json_schema' && schema
      ? {
          response_format: {
            type: 'json_schema',
            json_schema: { name: 'answer', schema: { ...schema }, strict: true },
          },
        }
      : {}),
  };
}
