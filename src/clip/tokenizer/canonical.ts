/** Texts as SigLIP was trained to read them: lower case, no punctuation, one space between words. */

/** Python's `string.punctuation`. */
const PUNCTUATION = /[!-/:-@[-`{-~]/g;

/** What Python's `str.isspace` says: white space and the four separators of ASCII. */
const SPACES = new RegExp(`[\\p{White_Space}${String.fromCharCode(0x1c)}-${String.fromCharCode(0x1f)}]+`, 'gu');

/** As `SiglipTokenizer.canonicalize_text` of transformers. */
export function canonicalise(text: string, lower = true): string {
  const lowered = lower ? text.toLowerCase() : text;
  return oneSpace(lowered.replace(PUNCTUATION, ''));
}

/**
 * As `canonicalize_text` of open_clip, which makes spaces of underscores first. What it does before, repairing mis-decoded
 * text (ftfy) and HTML entities, is left to the user, as everywhere here.
 */
export function canonicaliseOpenClip(text: string): string {
  return oneSpace(text.replaceAll('_', ' ').replace(PUNCTUATION, '').toLowerCase());
}

/** Parsed tokenizer files of open_clip with the canonical form in them, so that any reader of the files makes it. */
export function withCanonicalForm<T extends { readonly tokenizer: unknown; readonly tokenizerConfig: unknown }>(
  files: T,
): T {
  const steps = [
    { type: 'Replace', pattern: { String: '_' }, content: ' ' },
    { type: 'Replace', pattern: { Regex: '[!-/:-@\\[-`{-~]' }, content: '' },
    { type: 'Lowercase' },
    { type: 'Replace', pattern: { Regex: '\\s+' }, content: ' ' },
    { type: 'Strip', strip_left: true, strip_right: true },
  ];
  const json = (files.tokenizer ?? {}) as { normalizer?: unknown };
  const normalizers = [...steps, ...(json.normalizer ? [json.normalizer] : [])];
  const config = (files.tokenizerConfig ?? {}) as object;
  return {
    ...files,
    tokenizer: { ...json, normalizer: { type: 'Sequence', normalizers } },
    // A class of its own would bring its own normaliser; `clean` is what is read here.
    tokenizerConfig: { ...config, tokenizer_class: 'PreTrainedTokenizerFast', clean: 'canonicalize' },
  };
}

function oneSpace(text: string): string {
  return text.replace(SPACES, ' ').replace(/^ | $/g, '');
}
