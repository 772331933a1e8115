/** Texts as SigLIP was trained to read them: lower case, no punctuation, one space between words. */

/** Python's `string.punctuation`. */
const PUNCTUATION = /[!-/:-@[-`{-~]/g;

/** What Python's `str.isspace` says; JavaScript's \s differs in the separators below U+0020, U+0085 and U+FEFF. */
const SPACES = /[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/g;

/** As `SiglipTokenizer.canonicalize_text` of transformers. */
export function canonicalise(text: string, lower = true): string {
  const lowered = lower ? text.toLowerCase() : text;
  return oneSpace(lowered.replace(PUNCTUATION, ''));
}

/** As `canonicalize_text` of open_clip, which makes spaces of underscores first. */
export function canonicaliseOpenClip(text: string): string {
  return oneSpace(text.replaceAll('_', ' ').replace(PUNCTUATION, '').toLowerCase());
}

function oneSpace(text: string): string {
  return text.replace(SPACES, ' ').replace(/^ | $/g, '');
}
