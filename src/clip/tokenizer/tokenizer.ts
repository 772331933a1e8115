/** CLIP's tokenizer from tokenizer.json: padded and cut token ids with the position of each text's end. */
import { Tokenizer } from '@huggingface/tokenizers';
import { z } from 'zod';
import { messageOf, S3aError } from '../../errors.ts';
import { endPositions } from '../towers/text.ts';

export interface TokenBatch {
  /** [N, length], row-major. */
  ids: Int32Array;
  /** [N], the position of each row's end-of-text token. */
  ends: Int32Array;
}

export interface ClipTokenizer {
  /**
   * Token ids of texts, each padded to `length` tokens, or cut so that its end-of-text token is the last one.
   * @returns ids int32 [N, length] and ends int32 [N]
   */
  encode(texts: readonly string[], length: number): TokenBatch;
  /** One more than the largest token id. */
  readonly vocabularySize: number;
}

// The content of special tokens is written plainly or, in older files, as an object.
const token = z.union([z.string(), z.looseObject({ content: z.string() }).transform(t => t.content)]);
const tokenizerConfigSchema = z.looseObject({ eos_token: token.default('<|endoftext|>'), pad_token: token.nullish() });

const byteLevelSchema = z.looseObject({
  pre_tokenizer: z.looseObject({
    type: z.literal('Sequence'),
    pretokenizers: z.array(
      z.looseObject({ type: z.string(), use_regex: z.boolean().optional(), add_prefix_space: z.boolean().optional() }),
    ),
  }),
});

/**
 * A tokenizer from the parsed tokenizer.json and tokenizer_config.json of a Hugging Face folder.
 * @throws S3aError TOKENIZER when the files are not those of a CLIP tokenizer
 */
export function createTokenizer(json: unknown, config: unknown, where = 'tokenizer.json'): ClipTokenizer {
  const bad = (what: string): S3aError => new S3aError('TOKENIZER', `${where}: ${what}`);
  const shape = z.looseObject({ model: z.looseObject({ type: z.literal('BPE').optional() }) }).safeParse(json);
  if (!shape.success) throw bad('not a byte-pair tokenizer as CLIP has it');
  const special = tokenizerConfigSchema.safeParse(config);
  if (!special.success) throw bad(`tokenizer_config.json: ${special.error.issues[0].message}`);
  const tokenizer = build(shape.data, special.data, bad);
  const idOf = (name: string): number => {
    const id = tokenizer.token_to_id(name);
    if (id === undefined) throw bad(`the special token '${name}' is not in its vocabulary`);
    return id;
  };
  const end = idOf(special.data.eos_token);
  const padding = idOf(special.data.pad_token ?? special.data.eos_token);
  const vocabularySize = [...tokenizer.get_vocab(true).values()].reduce((a, b) => Math.max(a, b), 0) + 1;
  return {
    vocabularySize,
    encode(texts, length) {
      if (length < 2) throw new S3aError('TOKENIZER', `${length} tokens do not hold a start and an end`);
      const ids = new Int32Array(texts.length * length).fill(padding);
      texts.forEach((text, row) => {
        // JavaScript lowers a Σ that ends a word to ς; the reference lowers letter by letter, to σ.
        const all = tokenizer.encode(text.replaceAll('Σ', 'σ')).ids;
        const kept = all.length > length ? [...all.slice(0, length - 1), end] : all;
        ids.set(kept, row * length);
      });
      return { ids, ends: endPositions(ids, length, end) };
    },
  };
}

function build(json: object, config: object, bad: (what: string) => S3aError): Tokenizer {
  try {
    return new Tokenizer(withOwnByteLevelPattern(json), config);
  } catch (error) {
    throw bad(messageOf(error));
  }
}

// As in the tokenizers library of Hugging Face.
const BYTE_LEVEL_WORDS = String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`;

/**
 * The pattern by which ByteLevel splits is JavaScript's in the package and takes U+FEFF for white space; the patterns of a
 * Split mean what they mean in the reference. So the splitting is written out as a Split.
 */
function withOwnByteLevelPattern(json: object): object {
  const pre = byteLevelSchema.safeParse(json);
  if (!pre.success) return json;
  const split = { type: 'Split', pattern: { Regex: BYTE_LEVEL_WORDS }, behavior: 'Isolated', invert: true };
  const pretokenizers = pre.data.pre_tokenizer.pretokenizers.flatMap(part =>
    part.type === 'ByteLevel' && part.use_regex !== false && part.add_prefix_space !== true
      ? [split, { ...part, use_regex: false }]
      : [part],
  );
  return { ...json, pre_tokenizer: { ...pre.data.pre_tokenizer, pretokenizers } };
}
