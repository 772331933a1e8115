/** Token ids of texts for a sentence model, cut to its length as transformers cuts them. */
import { Tokenizer } from '@huggingface/tokenizers';
import { z } from 'zod';
import { messageOf, S3aError } from '../errors.ts';
import type { SentenceFolder } from './sentence-folder.ts';

export interface SentenceTokenizer {
  /** The ids of a text with its special tokens, at most the model's length. */
  encode(text: string): number[];
  /** Fills what is behind a text in a row. */
  readonly padding: number;
}

const specialSchema = z.looseObject({
  pad_token: z.union([z.string(), z.looseObject({ content: z.string() }).transform(t => t.content)]).nullish(),
});

/**
 * The tokenizer of a sentence model.
 * @throws S3aError TOKENIZER for files that are none, or a length that its special tokens leave no room in
 */
export function createSentenceTokenizer(folder: SentenceFolder): SentenceTokenizer {
  const { maxLength, lower, prefix } = folder;
  const bad = (what: string): S3aError => new S3aError('TOKENIZER', `the tokenizer of ${folder.model}: ${what}`);
  const guarded = <T>(work: () => T): T => {
    try {
      return work();
    } catch (error) {
      throw bad(messageOf(error));
    }
  };
  const tokenizer = guarded(() => new Tokenizer(folder.tokenizer as object, folder.tokenizerConfig as object));
  const special = specialSchema.safeParse(folder.tokenizerConfig);
  const padToken = special.success ? special.data.pad_token : undefined;
  const idsOf = (text: string, add_special_tokens: boolean): number[] => {
    const ids: number[] = guarded(() => tokenizer.encode(text, { add_special_tokens }).ids);
    const odd = ids.find(id => !Number.isSafeInteger(id));
    if (odd !== undefined || ids.length === 0) throw bad(`${JSON.stringify(text.slice(0, 80))} has no ids in it`);
    return ids;
  };
  if (guarded(() => tokenizer.encode('').ids.length) >= maxLength) throw bad(`no text fits into ${maxLength} tokens`);
  return {
    padding: idOf(tokenizer, padToken) ?? folder.padding ?? 0,
    encode(text) {
      const whole = prefix + text.trim();
      const plain = lower ? whole.toLowerCase() : whole;
      const all = idsOf(plain, true);
      if (all.length <= maxLength) return all;
      // What is cut is the end of the text itself; the special tokens around it stay.
      const own = idsOf(plain, false);
      let start = 0;
      while (start < all.length - own.length && !own.every((id, i) => all[start + i] === id)) start++;
      return [
        ...all.slice(0, start),
        ...own.slice(0, maxLength - (all.length - own.length)),
        ...all.slice(start + own.length),
      ];
    },
  };
}

function idOf(tokenizer: Tokenizer, token: string | null | undefined): number | undefined {
  const id = token ? tokenizer.token_to_id(token) : undefined;
  return Number.isSafeInteger(id) ? id : undefined;
}
