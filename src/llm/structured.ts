/** Answers as JSON: the schema that a model is held to, and the same request worded for it. */
import type { Message } from './text-model.ts';

/** The JSON Schema of an answer about concepts of these labels: each label with a list of phrases, and nothing else. */
export function answerSchema(labels: readonly string[]): Readonly<Record<string, unknown>> {
  const phrases = { type: 'array', items: { type: 'string' } };
  return {
    type: 'object',
    properties: Object.fromEntries(labels.map(label => [label, phrases])),
    required: [...labels],
    additionalProperties: false,
  };
}

const note = [
  'Instead of lines, write one JSON object and nothing else:',
  'each concept as a key, copied as it is written, with the list of its phrases.',
].join(' ');

/**
 * The messages with answers asked for, and shown, as JSON instead of a line a concept.
 *
 * The word JSON has to stand in the messages: some servers refuse to write it otherwise.
 */
export function asJson(messages: readonly Message[]): Message[] {
  const at = Math.max(
    0,
    messages.findIndex(({ role }) => role === 'system'),
  );
  return messages.map(({ role, content }, i) => {
    if (i === at) return { role, content: `${content}\n${note}` };
    return { role, content: role === 'assistant' ? linesToJson(content) : content };
  });
}

/** "label: phrase; phrase" lines as one JSON object. */
function linesToJson(lines: string): string {
  const entries = lines
    .split('\n')
    .map(line => line.split(': '))
    .map(([label, ...rest]) => [label, rest.join(': ').split('; ')]);
  return JSON.stringify(Object.fromEntries(entries));
}
