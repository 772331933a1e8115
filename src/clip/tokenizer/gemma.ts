/** Gemma's byte-pair tokenizer as SigLIP2 uses it: texts in lower case, neither beginning nor end added. */
import { Tokenizer } from '@huggingface/tokenizers';
import { messageOf, type S3aError } from '../../errors.ts';
import { cutterAt } from './added-tokens.ts';

export interface GemmaIds {
  ids(text: string): number[];
  idOf(token: string): number | undefined;
  readonly vocabularySize: number;
}

/**
 * Ids of texts by a parsed tokenizer.json of Gemma, lower case put before its normaliser (transformers' Siglip2Tokenizer).
 * @param added the tokens that are found before anything is normalised, as Gemma has them all
 * @param bad makes the error for a file that cannot be used
 */
export function gemmaIds(
  json: Readonly<Record<string, unknown>>,
  config: Readonly<Record<string, unknown>>,
  added: readonly { readonly id: number; readonly content: string }[],
  bad: (what: string) => S3aError,
): GemmaIds {
  const normalizers = [{ type: 'Lowercase' }, ...(json.normalizer ? [json.normalizer] : [])];
  const addedIds = new Map(added.map(({ id, content }) => [content, id]));
  let tokenizer: Tokenizer;
  try {
    // The package would also find such tokens in what has been normalised: '<EOS>' would become an end.
    tokenizer = new Tokenizer({ ...json, added_tokens: [], normalizer: { type: 'Sequence', normalizers } }, config);
  } catch (error) {
    throw bad(messageOf(error));
  }
  const cut = cutterAt(addedIds.keys());
  // JavaScript lowers a Σ that ends a word to ς; the reference lowers letter by letter, to σ.
  const pieces = (part: string): number[] =>
    tokenizer.encode(part.replaceAll('Σ', 'σ'), { add_special_tokens: false }).ids;
  const ids = [...tokenizer.get_vocab(false).values(), ...addedIds.values()];
  return {
    ids: text => cut(text).flatMap(part => addedIds.get(part) ?? pieces(part)),
    idOf: token => addedIds.get(token) ?? tokenizer.token_to_id(token),
    vocabularySize: ids.reduce((a, b) => Math.max(a, b), 0) + 1,
  };
}
