/**
 * Makes src/clip/tokenizer/data/merges.br from bpe_simple_vocab_16e6.txt.gz, which github.com/openai/CLIP and open_clip_torch
 * bring: CLIP's 48,894 merges, a line each, the two parts by a space. The file goes on after those that CLIP uses.
 *
 *   node scripts/build-clip-tokenizer.mjs bpe_simple_vocab_16e6.txt.gz
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { brotliCompressSync, constants, gunzipSync } from 'node:zlib';

const [source] = process.argv.slice(2);
if (!source) throw new Error('usage: node scripts/build-clip-tokenizer.mjs <bpe_simple_vocab_16e6.txt.gz>');

// The first line is a version; 49,152 − 256 − 2 is the count of merges in OpenAI's code.
const merges = gunzipSync(readFileSync(source))
  .toString('utf8')
  .split('\n')
  .slice(1, 49152 - 256 - 2 + 1);
if (merges.length !== 48894 || merges.some(line => line.split(' ').length !== 2)) {
  throw new Error(`${source} is not OpenAI's list of merges`);
}
const text = Buffer.from(merges.join('\n'));
const packed = brotliCompressSync(text, {
  params: { [constants.BROTLI_PARAM_LGWIN]: 22, [constants.BROTLI_PARAM_SIZE_HINT]: text.length },
});
writeFileSync(new URL('../src/clip/tokenizer/data/merges.br', import.meta.url), packed);
console.log(`${merges.length} merges, ${packed.length} bytes`);
