/** How many requests may be sent in all. */
import { TextModelError } from './text-model.ts';

/** Counts requests against a limit. */
export interface Budget {
  /** Counts requests that were sent in an earlier process. */
  sentBefore(requests: number): void;
  /** Counts one that is about to be sent to `model`; throws `LLM_BUDGET` when there is none left. */
  spend(model: string): void;
}

/** A budget of `limit` requests. */
export function createBudget(limit = Infinity): Budget {
  let sent = 0;
  return {
    sentBefore(requests) {
      sent += requests;
    },
    spend(model) {
      if (sent >= limit) {
        throw new TextModelError(
          'LLM_BUDGET',
          `The budget of ${limit} requests to ${model} is used up.`,
          'Raise --llm-max-requests and resume: what was answered is kept.',
          { scope: 'model', retryable: false },
        );
      }
      sent++;
    },
  };
}
