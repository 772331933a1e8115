/** sentencepiece's own file, spiece.model, as the tokenizer.json that means the same. */
import { S3aError } from '../../errors.ts';

/** Of `sentencepiece_model.proto`: kinds of pieces, and the model type of unigrams. */
const KIND = { normal: 1, unknown: 2, control: 3, byte: 6 } as const;
const UNIGRAM = 1;

/** The largest file that is read; the multilingual models have 5 MB. */
export const MAX_SPIECE = 64 << 20;

type Value = number | Uint8Array;
type Fields = Map<number, Value[]>;

/**
 * The parsed content of a tokenizer.json with the pieces and the normalisation of a spiece.model of SigLIP.
 * @throws S3aError TOKENIZER when the bytes are not a unigram model of sentencepiece
 */
export function spieceJson(bytes: Uint8Array, where = 'spiece.model'): Record<string, unknown> {
  const bad = (what: string): S3aError =>
    new S3aError('TOKENIZER', `${where} is not a sentencepiece model: ${what}`, 'Download the file again.');
  const model = fieldsOf(bytes, bad);
  const trainer = fieldsOf(messageOf(model, 2), bad);
  const normalizer = fieldsOf(messageOf(model, 3), bad);
  const pieces = (model.get(1) ?? []).map((value, id) => {
    if (typeof value === 'number') throw bad(`piece ${id} is a number`);
    const piece = fieldsOf(value, bad);
    return { id, text: textOf(piece, 1), score: floatOf(piece, 2), kind: numberOf(piece, 3, KIND.normal) };
  });
  const unknown = pieces.find(({ kind }) => kind === KIND.unknown);
  if (numberOf(trainer, 3, UNIGRAM) !== UNIGRAM || !unknown)
    throw bad('it is not a unigram model with an unknown piece');
  const strange = pieces.find(({ kind }) => !Object.values(KIND).some(known => known === kind));
  if (strange) throw bad(`piece ${strange.id} is of the kind ${strange.kind}, which is not known`);
  const special = pieces.filter(({ kind }) => kind === KIND.control || kind === KIND.unknown);
  const end = special.find(({ text }) => text === '</s>');
  if (!end) throw bad('it has no piece </s>');
  const collapse = numberOf(normalizer, 4, 1) === 1;
  const charsmap = messageOf(normalizer, 2);
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: special.map(({ id, text }) => ({
      id,
      content: text,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'Lowercase' },
        { type: 'Replace', pattern: { Regex: '[!-/:-@\\[-`{-~]' }, content: '' },
        { type: 'Replace', pattern: { Regex: '\\s+' }, content: ' ' },
        { type: 'Strip', strip_left: true, strip_right: true },
        ...(charsmap.length > 0
          ? [{ type: 'Precompiled', precompiled_charsmap: Buffer.from(charsmap).toString('base64') }]
          : []),
        ...(collapse ? [{ type: 'Replace', pattern: { Regex: ' {2,}' }, content: ' ' }] : []),
      ],
    },
    pre_tokenizer: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true },
    post_processor: {
      type: 'TemplateProcessing',
      single: [{ Sequence: { id: 'A', type_id: 0 } }, { SpecialToken: { id: '</s>', type_id: 0 } }],
      pair: [
        { Sequence: { id: 'A', type_id: 0 } },
        { SpecialToken: { id: '</s>', type_id: 0 } },
        { Sequence: { id: 'B', type_id: 0 } },
        { SpecialToken: { id: '</s>', type_id: 0 } },
      ],
      special_tokens: { '</s>': { id: '</s>', ids: [end.id], tokens: ['</s>'] } },
    },
    decoder: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true },
    model: {
      type: 'Unigram',
      unk_id: unknown.id,
      vocab: pieces.map(({ text, score }) => [text, score]),
      byte_fallback: numberOf(trainer, 35, 0) === 1,
    },
  };
}

/** The fields of a protocol-buffer message by number: integers as numbers, all else as bytes. */
function fieldsOf(bytes: Uint8Array, bad: (what: string) => S3aError): Fields {
  const fields: Fields = new Map();
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let shift = 0; shift < 70 && at < bytes.length; shift += 7) {
      const byte = bytes[at++];
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) return value;
    }
    throw bad('it ends within a number');
  };
  while (at < bytes.length) {
    const tag = varint();
    const wire = tag % 8;
    if (wire !== 0 && wire !== 1 && wire !== 2 && wire !== 5) throw bad(`the wire type ${wire} at byte ${at}`);
    const value = wire === 0 ? varint() : cut(wire === 1 ? 8 : wire === 5 ? 4 : varint());
    const number = Math.floor(tag / 8);
    const known = fields.get(number);
    if (known) known.push(value);
    else fields.set(number, [value]);
  }
  return fields;

  function cut(length: number): Uint8Array {
    if (length > bytes.length - at) throw bad('it is cut short');
    at += length;
    return bytes.subarray(at - length, at);
  }
}

function messageOf(fields: Fields, number: number): Uint8Array {
  const value = fields.get(number)?.at(-1);
  return value instanceof Uint8Array ? value : new Uint8Array(0);
}

function textOf(fields: Fields, number: number): string {
  return Buffer.from(messageOf(fields, number)).toString();
}

function numberOf(fields: Fields, number: number, missing: number): number {
  const value = fields.get(number)?.at(-1);
  return typeof value === 'number' ? value : missing;
}

function floatOf(fields: Fields, number: number): number {
  const bytes = messageOf(fields, number);
  return bytes.length === 4 ? new DataView(bytes.buffer, bytes.byteOffset, 4).getFloat32(0, true) : 0;
}
