/** A language model of a few thousand random weights as a GGUF file, for tests of what reads such files. */
import { writeFile } from 'node:fs/promises';
import { random } from '../src/random.ts';

const WIDTH = 32;
const HIDDEN = 32;
const CONTEXT = 8192;

/** Value types of GGUF's metadata. */
const TYPES = { uint32: 4, int32: 5, float32: 6, string: 8, array: 9 } as const;

/** Kinds of tokens. */
const [NORMAL, UNKNOWN, CONTROL, BYTE] = [1, 2, 3, 6];

interface Token {
  text: string;
  type: number;
  /** How much likelier the model is to say it than a token with 0. */
  bias: number;
}

/**
 * Writes a one-block llama that knows single characters: whatever it is asked, it says random letters and likes to close
 * its quotes. The same seed gives the same file.
 */
export async function writeTinyGguf(path: string, seed = 0): Promise<void> {
  await writeFile(path, tinyGguf(seed));
}

/** The bytes that `writeTinyGguf` writes. */
export function tinyGguf(seed: number): Buffer {
  const tokens = vocabulary();
  const rng = random(seed, 'tiny gguf');
  const normal = (rows: number, columns: number, scale: number): Float32Array =>
    Float32Array.from({ length: rows * columns }, () => scale * rng.normal());
  const ones = new Float32Array(WIDTH).fill(1);

  // The first number of every feature is the same, so that a weight on it is a bias.
  const embedding = normal(tokens.length, WIDTH, 0.3);
  const output = normal(tokens.length, WIDTH, 0.3);
  tokens.forEach(({ bias }, t) => {
    embedding[t * WIDTH] = 3;
    output[t * WIDTH] = bias / 4;
  });
  const tensors: [name: string, shape: number[], data: Float32Array][] = [
    ['token_embd.weight', [WIDTH, tokens.length], embedding],
    ['output_norm.weight', [WIDTH], ones],
    ['output.weight', [WIDTH, tokens.length], output],
    ['blk.0.attn_norm.weight', [WIDTH], ones],
    ...['q', 'k', 'v', 'output'].map((part): [string, number[], Float32Array] => [
      `blk.0.attn_${part}.weight`,
      [WIDTH, WIDTH],
      normal(WIDTH, WIDTH, 0.1),
    ]),
    ['blk.0.ffn_norm.weight', [WIDTH], ones],
    ['blk.0.ffn_gate.weight', [WIDTH, HIDDEN], normal(HIDDEN, WIDTH, 0.1)],
    ['blk.0.ffn_up.weight', [WIDTH, HIDDEN], normal(HIDDEN, WIDTH, 0.1)],
    ['blk.0.ffn_down.weight', [HIDDEN, WIDTH], normal(WIDTH, HIDDEN, 0.1)],
  ];
  const metadata = [
    text('general.architecture', 'llama'),
    text('general.name', 'tiny'),
    uint32('llama.context_length', CONTEXT),
    uint32('llama.embedding_length', WIDTH),
    uint32('llama.block_count', 1),
    uint32('llama.feed_forward_length', HIDDEN),
    uint32('llama.attention.head_count', 2),
    uint32('llama.rope.dimension_count', WIDTH / 2),
    entry('llama.attention.layer_norm_rms_epsilon', TYPES.float32, float32Of(1e-5)),
    text('tokenizer.ggml.model', 'llama'),
    list(
      'tokenizer.ggml.tokens',
      TYPES.string,
      tokens.map(token => stringOf(token.text)),
    ),
    list(
      'tokenizer.ggml.scores',
      TYPES.float32,
      tokens.map(() => float32Of(0)),
    ),
    list(
      'tokenizer.ggml.token_type',
      TYPES.int32,
      tokens.map(token => uint32Of(token.type)),
    ),
    uint32('tokenizer.ggml.unknown_token_id', 0),
    uint32('tokenizer.ggml.bos_token_id', 1),
    uint32('tokenizer.ggml.eos_token_id', 2),
  ];

  let offset = 0;
  const infos = tensors.map(([name, shape, data]) => {
    const dims = shape.map(uint64Of);
    const info = Buffer.concat([stringOf(name), uint32Of(shape.length), ...dims, uint32Of(0), uint64Of(offset)]);
    offset = aligned(offset + data.byteLength);
    return info;
  });
  const head = [Buffer.from('GGUF'), uint32Of(3), uint64Of(tensors.length), uint64Of(metadata.length)];
  const described = padded(Buffer.concat([...head, ...metadata, ...infos]));
  const data = tensors.map(([, , values]) => padded(Buffer.from(values.buffer, values.byteOffset, values.byteLength)));
  return Buffer.concat([described, ...data]);
}

function vocabulary(): Token[] {
  const tokens: Token[] = [
    { text: '<unk>', type: UNKNOWN, bias: -20 },
    { text: '<s>', type: CONTROL, bias: -20 },
    { text: '</s>', type: CONTROL, bias: 0 },
  ];
  for (let byte = 0; byte < 256; byte++) {
    tokens.push({ text: `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`, type: BYTE, bias: -20 });
  }
  for (const sign of '▁"\'(),.:;-[]{}0123456789')
    tokens.push({ text: sign, type: NORMAL, bias: sign === '"' ? 3 : -4 });
  for (const letter of 'abcdefghijklmnopqrstuvwxyz') tokens.push({ text: letter, type: NORMAL, bias: 0 });
  return tokens;
}

function aligned(size: number): number {
  return Math.ceil(size / 32) * 32;
}

function padded(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc(aligned(bytes.length) - bytes.length)]);
}

function text(key: string, value: string): Buffer {
  return entry(key, TYPES.string, stringOf(value));
}

function uint32(key: string, value: number): Buffer {
  return entry(key, TYPES.uint32, uint32Of(value));
}

function list(key: string, type: number, items: readonly Buffer[]): Buffer {
  return entry(key, TYPES.array, Buffer.concat([uint32Of(type), uint64Of(items.length), ...items]));
}

function entry(key: string, type: number, value: Buffer): Buffer {
  return Buffer.concat([stringOf(key), uint32Of(type), value]);
}

function stringOf(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([uint64Of(bytes.length), bytes]);
}

function uint32Of(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function uint64Of(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

function float32Of(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(value);
  return bytes;
}
