/** A text model of the caller's own, as the prompt step asks any other. */
import { messageOf } from '../errors.ts';
import type { Budget } from './budget.ts';
import { type TextAnswer, type TextModel, TextModelError } from './text-model.ts';

/**
 * The caller's model: its requests are counted, whatever it throws is a failure of that request that may pass, an answer without
 * text is asked for again, and `dispose` leaves it open, for it is the caller's.
 */
export function ownTextModel(model: TextModel, budget: Budget): TextModel {
  const failure = (what: string, scope: 'answer' | 'request', cause?: unknown): TextModelError =>
    new TextModelError('LLM_OWN', `The text model ${model.id} ${what}.`, undefined, { scope, retryable: true, cause });
  return {
    id: model.id,
    async complete(request, signal) {
      budget.spend(model.id);
      let answer: TextAnswer;
      try {
        answer = await model.complete(request, signal);
      } catch (error) {
        signal?.throwIfAborted();
        throw error instanceof TextModelError ? error : failure(`failed: ${messageOf(error)}`, 'request', error);
      }
      if (typeof answer?.text === 'string') return { text: answer.text };
      throw failure('gave an answer without text', 'answer');
    },
  };
}
