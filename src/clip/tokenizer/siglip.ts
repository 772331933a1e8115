/** SigLIP's tokenizers: a unigram model of sentencepiece (SigLIP) or Gemma's byte-pair model in lower case (SigLIP2). */
import { z } from 'zod';
import { S3aError } from '../../errors.ts';
import { cutterAt } from './added-tokens.ts';
import { canonicalise, canonicaliseOpenClip } from './canonical.ts';
import { type Charsmap, readCharsmap, SPACE, sentencepieceNormalise } from './charsmap.ts';
import { gemmaIds } from './gemma.ts';
import type { ClipTokenizer } from './tokenizer.ts';
import { createUnigram } from './unigram.ts';

const token = z.union([z.string(), z.looseObject({ content: z.string() }).transform(t => t.content)]);
const configSchema = z.looseObject({
  tokenizer_class: z.string().nullish(),
  eos_token: token.nullish(),
  pad_token: token.nullish(),
  unk_token: token.nullish(),
  do_lower_case: z.boolean().default(true),
  padding_side: z.enum(['left', 'right']).nullish(),
  /** open_clip's word for how texts are cleaned; transformers' files have none. */
  clean: z.literal('canonicalize', "only 'canonicalize' is known").nullish(),
  added_tokens_decoder: z.record(z.string(), z.looseObject({ content: z.string() })).nullish(),
});
type TokenizerConfig = z.output<typeof configSchema>;

const unigramSchema = z.looseObject({
  type: z.literal('Unigram'),
  unk_id: z.int().min(0),
  vocab: z.array(z.tuple([z.string(), z.number()])).min(1),
  byte_fallback: z.boolean().nullish(),
});
const jsonSchema = z.looseObject({
  added_tokens: z.array(z.looseObject({ id: z.int().min(0), content: z.string() })).nullish(),
  normalizer: z.unknown().optional(),
  model: z.looseObject({ type: z.string().optional() }),
});
type TokenizerJson = z.output<typeof jsonSchema>;
type Bad = (what: string) => S3aError;

/** What the two kinds of tokenizers differ in. */
interface Kind {
  /** Ids of a text without its end. */
  ids(text: string): number[];
  readonly vocabularySize: number;
  idOf(token: string): number | undefined;
  readonly end: string;
  readonly padding: string;
  readonly padsLeft: boolean;
}

/**
 * A tokenizer from the parsed tokenizer.json and tokenizer_config.json of a SigLIP folder. Texts end with the end token and are
 * padded to the whole length, which the model was trained with: it sees the padding.
 * @throws S3aError TOKENIZER when the files are not those of SigLIP's or SigLIP2's tokenizer
 */
export function createSiglipTokenizer(json: unknown, config: unknown, where = 'tokenizer.json'): ClipTokenizer {
  const bad: Bad = what => new S3aError('TOKENIZER', `${where}: ${what}`);
  const parsed = jsonSchema.safeParse(json);
  if (!parsed.success) throw bad('not a tokenizer.json');
  const special = configSchema.safeParse(config);
  if (!special.success) {
    const [{ path, message }] = special.error.issues;
    throw bad(`tokenizer_config.json: ${path.join('.')}: ${message}`);
  }
  const { type } = parsed.data.model;
  if (type !== 'Unigram' && type !== 'BPE') {
    throw bad(`a tokenizer of the type ${JSON.stringify(type)}; SigLIP has Unigram, SigLIP2 BPE`);
  }
  const kind = (type === 'Unigram' ? unigramKind : gemmaKind)(parsed.data, special.data, bad);
  const [end, padding] = [kind.end, kind.padding].map(name => {
    const id = kind.idOf(name);
    if (id === undefined) throw bad(`the special token '${name}' is not in its vocabulary`);
    return id;
  });
  return {
    vocabularySize: kind.vocabularySize,
    encode(texts, length) {
      if (length < 1) throw new S3aError('TOKENIZER', `${length} tokens do not hold an end`);
      const ids = new Int32Array(texts.length * length).fill(padding);
      const ends = new Int32Array(texts.length);
      texts.forEach((text, row) => {
        const kept = kind.ids(text).slice(0, length - 1);
        // As in transformers, a text that ends in the end token gets no second one.
        if (kept.at(-1) !== end) kept.push(end);
        const start = kind.padsLeft ? length - kept.length : 0;
        ids.set(kept, row * length + start);
        ends[row] = start + kept.length - 1;
      });
      return { ids, ends };
    },
  };
}

/** SigLIP's, as transformers' SiglipTokenizer, which runs sentencepiece on canonical texts. */
function unigramKind(json: TokenizerJson, config: TokenizerConfig, bad: Bad): Kind {
  const model = unigramSchema.safeParse(json.model);
  if (!model.success) throw bad(`model.${model.error.issues[0].path.join('.')}: ${model.error.issues[0].message}`);
  const { vocab: vocabulary, unk_id: unknown, byte_fallback: byteFallback } = model.data;
  if (unknown >= vocabulary.length) throw bad(`model.unk_id: ${unknown} is none of its ${vocabulary.length} pieces`);
  const idByPiece = new Map(vocabulary.map(([piece], id) => [piece, id]));
  const byteIds = Array.from({ length: 256 }, (_, b) => idByPiece.get(byteName(b)) ?? unknown);
  const bytes = byteFallback ? byteIds : undefined;
  const reserved = new Set([...(json.added_tokens ?? []).map(({ id }) => id), ...(bytes ?? [])]);
  const cut = createUnigram({ vocabulary, unknown, reserved, bytes });
  const { charsmap, collapse } = normalizerOf(json.normalizer, bad);
  const pieces = (text: string): number[] => cut(sentencepieceNormalise(text, charsmap, collapse));

  const end = config.eos_token ?? '</s>';
  const padding = config.pad_token ?? end;
  const unknownToken = config.unk_token ?? '<unk>';
  const added = Object.values(config.added_tokens_decoder ?? {}).map(({ content }) => content);
  const specials = new Set([end, padding, unknownToken, ...added].filter(name => idByPiece.has(name)));
  const cutAtSpecials = cutterAt(specials);
  // transformers cuts each part behind the text '<unk>', so that its beginning counts as the inside of a text.
  const lead = pieces(unknownToken).length;
  // open_clip's texts are clean before they are cut, and begin with one space, not with a space and what was there.
  const lower = config.do_lower_case;
  const prepared = config.clean
    ? (text: string) => canonicaliseOpenClip(text).replace(/^(?!▁)/, SPACE)
    : (text: string) => SPACE + text.replaceAll(SPACE, ' ');
  const clean = config.clean ? (part: string) => part : (part: string) => canonicalise(part, lower);
  return {
    vocabularySize: vocabulary.length,
    idOf: name => idByPiece.get(name),
    end,
    padding,
    padsLeft: config.padding_side === 'left',
    ids(text) {
      return cutAtSpecials(prepared(text)).flatMap(part =>
        specials.has(part) ? [idByPiece.get(part)!] : pieces(unknownToken + clean(part)).slice(lead),
      );
    },
  };
}

/** SigLIP2's: Gemma's vocabulary without a beginning token. */
function gemmaKind(json: TokenizerJson, config: TokenizerConfig, bad: Bad): Kind {
  const { ids, vocabularySize, idOf } = gemmaIds(json, config, json.added_tokens ?? [], bad);
  const padsLeft = config.padding_side ?? 'left';
  return {
    ids: config.clean ? text => ids(canonicaliseOpenClip(text)) : ids,
    vocabularySize,
    idOf,
    end: config.eos_token ?? '<eos>',
    padding: config.pad_token ?? '<pad>',
    padsLeft: padsLeft === 'left',
  };
}

/** What a tokenizer.json says of sentencepiece's normaliser; the canonical form is made here in any case. */
function normalizerOf(json: unknown, bad: Bad): { charsmap?: Charsmap; collapse: boolean } {
  const steps = flattened(json);
  const encoded = steps.find(step => step.type === 'Precompiled')?.precompiled_charsmap;
  const charsmap = typeof encoded === 'string' ? readCharsmap(Buffer.from(encoded, 'base64')) : undefined;
  if (encoded !== undefined && encoded !== null && !charsmap) throw bad('its precompiled_charsmap is damaged');
  return { charsmap, collapse: steps.some(step => JSON.stringify(step.pattern ?? '').includes(' {2,}')) };
}

function flattened(normalizer: unknown, depth = 0): Record<string, unknown>[] {
  if (typeof normalizer !== 'object' || normalizer === null || depth > 4) return [];
  const step = normalizer as Record<string, unknown>;
  return Array.isArray(step.normalizers) ? step.normalizers.flatMap(inner => flattened(inner, depth + 1)) : [step];
}

function byteName(byte: number): string {
  return `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`;
}
