/**
 * The tokenizer of OpenAI's CLIP, for checkpoints that bring none; scripts/build-clip-tokenizer.mjs makes the data.
 *
 * Texts are read as transformers reads them, for models of open_clip too. open_clip and OpenAI's code first mend a text with
 * ftfy (curly quotes, ligatures, full-width letters, wrong encodings, control characters) and resolve HTML entities: give such
 * texts mended. They also lower a Σ at the end of a word to ς, and know the special tokens as <start_of_text> and <end_of_text>.
 */
import { readFileSync } from 'node:fs';
import { brotliDecompressSync } from 'node:zlib';
import { S3aError } from '../../errors.ts';
import { packageFile } from '../../vocab/package-root.ts';

const START = '<|startoftext|>';
const END = '<|endoftext|>';
const WORDS = String.raw`<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+`;

/** Tokens of OpenAI's CLIP. */
export const CLIP_WORDS = 49408;

let files: { tokenizer: object; tokenizerConfig: object } | undefined;

/**
 * The content of tokenizer.json, as CLIPTokenizer of transformers 5 writes it for OpenAI's merges, and of
 * tokenizer_config.json; read at the first call.
 */
export function clipTokenizerFiles(): { tokenizer: object; tokenizerConfig: object } {
  if (!files) {
    const merges = readMerges();
    files = { tokenizer: clipTokenizerJson(wordsOf(merges), merges), tokenizerConfig: configJson() };
  }
  return files;
}

function readMerges(): [string, string][] {
  const text = brotliDecompressSync(readFileSync(packageFile('src/clip/tokenizer/data/merges.br'))).toString('utf8');
  return text.split('\n').map(line => line.split(' ') as [string, string]);
}

/** Ids count bytes, bytes that end a word, merges, and the two special tokens. */
function wordsOf(merges: readonly [string, string][]): Record<string, number> {
  const bytes = byteLetters();
  const words = [...bytes, ...bytes.map(letter => `${letter}</w>`), ...merges.map(([a, b]) => a + b), START, END];
  return Object.fromEntries(words.map((word, id) => [word, id]));
}

/**
 * The content of tokenizer.json for a CLIP vocabulary, as CLIPTokenizer of transformers 5 writes it.
 * @param vocab token to id
 * @param merges best first
 * @throws S3aError TOKENIZER when CLIP's special tokens are not in it
 */
export function clipTokenizerJson(
  vocab: Readonly<Record<string, number>>,
  merges: readonly [string, string][],
): object {
  const lacking = [START, END].find(token => !Object.hasOwn(vocab, token));
  if (lacking) throw new S3aError('TOKENIZER', `a vocabulary without ${lacking} is not CLIP's`);
  const special = (content: string) => ({
    id: vocab[content],
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  });
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [special(START), special(END)],
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'NFC' },
        { type: 'Replace', pattern: { Regex: String.raw`\s+` }, content: ' ' },
        { type: 'Lowercase' },
      ],
    },
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        { type: 'Split', pattern: { Regex: WORDS }, behavior: 'Removed', invert: true },
        { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
      ],
    },
    post_processor: {
      type: 'RobertaProcessing',
      sep: [END, vocab[END]],
      cls: [START, vocab[START]],
      trim_offsets: false,
      add_prefix_space: false,
    },
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: END,
      continuing_subword_prefix: '',
      end_of_word_suffix: '</w>',
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab,
      merges,
    },
  };
}

function configJson(): object {
  return {
    bos_token: START,
    eos_token: END,
    model_max_length: 77,
    pad_token: END,
    tokenizer_class: 'CLIPTokenizer',
    unk_token: END,
  };
}

/** A visible letter for each byte: itself where it is one, else a letter from 256 on; in the order of OpenAI's vocabulary. */
function byteLetters(): string[] {
  const isVisible = (byte: number): boolean =>
    (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  const all = Array.from({ length: 256 }, (_, byte) => byte);
  const hidden = all.filter(byte => !isVisible(byte));
  return [...all.filter(isVisible), ...hidden.map((_, i) => 256 + i)].map(code => String.fromCharCode(code));
}
