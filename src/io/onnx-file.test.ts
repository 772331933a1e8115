import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { Message } from '../engine/proto.ts';
import { S3aError } from '../errors.ts';
import { openOnnxFile } from './onnx-file.ts';

const goldens = fileURLToPath(new URL('../../test/goldens/onnx-file/', import.meta.url));
const expected = JSON.parse(readFileSync(join(goldens, 'expected.json'), 'utf8')) as {
  stored: Record<string, { shape: number[]; values: (number | string)[] }>;
  quantised: Record<string, number[]>;
};
const folder = mkdtempSync(join(tmpdir(), 's3a-onnx-file-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const isFloat = (name: string): boolean => ['F64', 'F32', 'F16', 'BF16'].includes(name);

describe.each(['all.onnx', 'external.onnx'])('%s, as the Python library wrote it', name => {
  test('gives every tensor of every type, however it is stored', async () => {
    const file = await openOnnxFile(join(goldens, name));
    for (const [tensor, { shape, values }] of Object.entries(expected.stored)) {
      expect(file.info(tensor).shape).toEqual(shape);
      if (isFloat(file.info(tensor).dtype)) expect([...(await file.readFloat32(tensor))]).toEqual(values);
      else {
        expect([...(await file.read(tensor))].map(String)).toEqual(values);
        await expect(file.readFloat32(tensor)).rejects.toThrow('not a float type');
      }
    }
    expect(file.info('raw/float16').dtype).toBe('F16');
    expect(file.externalFiles.length).toBe(name === 'all.onnx' ? 0 : 1);
    expect(file.info('text').dtype).toBe('STRING');
    await expect(file.read('text')).rejects.toThrow('has elements of STRING, which are not read');
    expect(file.has('toString')).toBe(false);
    await expect(file.readFloat32('toString')).rejects.toThrow('has no tensor named "toString"');
    await file.close();
  });
});

test('gives the nodes, with whole-number attributes, and the values of Constant nodes; inner graphs are left out', async () => {
  const file = await openOnnxFile(join(goldens, 'all.onnx'));
  expect(file.nodes.map(({ type, name, inputs, outputs }) => [type, name, inputs, outputs])).toEqual([
    ['Constant', '', [], ['constant']],
    ['Transpose', '/a/b.0/Transpose', ['raw/float32'], ['turned']],
    ['Gemm', '/a/b.0/Gemm', ['turned', 'list/float32', ''], ['product']],
    ['If', '', ['list/bool'], ['chosen']],
  ]);
  expect([...file.nodes[1].attributes]).toEqual([['perm', [1, 0]]]);
  expect([...file.nodes[2].attributes]).toEqual([['transB', 1]]);
  expect(file.outputs).toEqual(['product', 'chosen']);
  expect([...(await file.readFloat32('constant'))]).toEqual([7, 8]);
  expect(file.has('inner')).toBe(false);
  await file.close();
});

test('quantised weights are the floats that onnx makes of them', async () => {
  const file = await openOnnxFile(join(goldens, 'quantised.onnx'));
  const names = Object.keys(expected.quantised);
  expect(names.length).toBe(11);
  for (const name of names) {
    expect(file.isQuantised(name)).toBe(true);
    expect([...(await file.readFloat32(name))], name).toEqual(expected.quantised[name]);
  }
  expect(file.isQuantised('i8/axis 0 z')).toBe(false);
  await expect(file.readFloat32('i8/axis 0 z')).rejects.toThrow('not a float type');
  await file.close();
});

const bytesOf = (...values: number[]): Uint8Array => new Uint8Array(new Float32Array(values).buffer);

/** A TensorProto by its fields; `raw` where nothing else is said. */
function tensor(name: string, dims: (number | bigint)[], type = 1, rest = (m: Message) => m.bytes(9, bytesOf(1, 2))) {
  const message = new Message();
  for (const dim of dims) message.int(1, dim);
  return rest(message.int(2, type).string(8, name));
}

function external(entries: Record<string, string>) {
  return (message: Message): Message => {
    for (const [key, value] of Object.entries(entries))
      message.message(13, new Message().string(1, key).string(2, value));
    return message.int(14, 1);
  };
}

const node = (type: string, inputs: string[], outputs: string[]): Message => {
  const message = new Message();
  for (const name of inputs) message.string(1, name);
  for (const name of outputs) message.string(2, name);
  return message.string(4, type);
};

function model(tensors: Message[], nodes: Message[] = []): Uint8Array {
  const graph = new Message();
  for (const each of nodes) graph.message(1, each);
  for (const each of tensors) graph.message(5, each);
  return new Message().int(1, 8).message(7, graph).finish();
}

async function outcome(bytes: Uint8Array, at = folder): Promise<string> {
  const path = join(at, 'hostile.onnx');
  writeFileSync(path, bytes);
  try {
    const file = await openOnnxFile(path);
    try {
      for (const name of file.names)
        if (isFloat(file.info(name).dtype) || file.isQuantised(name)) await file.readFloat32(name);
      return 'read';
    } finally {
      await file.close();
    }
  } catch (error) {
    expect(error).toBeInstanceOf(S3aError);
    expect(['ONNX', 'READ']).toContain((error as S3aError).code);
    expect((error as S3aError).message).not.toContain('\n');
    return (error as S3aError).message;
  }
}

/** Graphs in attributes of nodes, one inside the other. */
function nested(depth: number): Message {
  let graph = new Message();
  for (let i = 0; i < depth; i++)
    graph = new Message().message(1, new Message().message(5, new Message().message(6, graph)));
  return graph;
}

const quantisedBy = (scales: Message): Uint8Array =>
  model(
    [tensor('q', [8], 3, m => m.bytes(9, new Uint8Array(8))), scales],
    [node('DequantizeLinear', ['q', 's'], ['y'])],
  );

test.each([
  ['nothing', new Uint8Array(0), 'it has no graph'],
  ['a text', Buffer.from('<!DOCTYPE html><html>'), 'is not an ONNX model'],
  ['no version', new Message().message(7, new Message()).finish(), 'it has no graph'],
  [
    'two graphs',
    new Message().int(1, 8).message(7, new Message()).message(7, new Message()).finish(),
    'more than one graph',
  ],
  ['a length past the end', Uint8Array.of(8, 8, 0x3a, 0xff, 0xff, 0xff, 0xff, 0x7f), 'where 0 are left'],
  [
    'a length of 2^63',
    Uint8Array.of(8, 8, 0x3a, ...Array<number>(9).fill(0xff), 1),
    'a field of 18446744073709551615 bytes',
  ],
  ['a number without an end', Uint8Array.of(8, ...Array<number>(30).fill(0xff)), 'a number without an end at byte 0'],
  ['a group', Uint8Array.of(8, 8, 0x3b), 'the wire type 3 at byte 2'],
  ['field 0', Uint8Array.of(8, 8, 2, 0), 'the field number 0 at byte 2'],
  ['a graph that is a number', Uint8Array.of(8, 8, 0x38, 1), 'more than one graph'],
  ['a negative size', model([tensor('a', [-2])]), 'tensor "a" of shape [-2]'],
  ['a huge size', model([tensor('a', [2n ** 62n])]), 'tensor "a" of shape [4611686018427387904]'],
  ['a huge product', model([tensor('a', [2 ** 40, 2 ** 40])]), 'tensor "a" of shape [1099511627776, 1099511627776]'],
  ['huge times zero', model([tensor('a', [...Array<number>(15).fill(2 ** 52), 0])]), 'takes 0 bytes but has 8'],
  ['sizes that lie', model([tensor('a', [2 ** 30])]), 'takes 4294967296 bytes but has 8'],
  ['too many dimensions', model([tensor('a', Array<number>(17).fill(1))]), 'more than 16 dimensions'],
  ['no elements', model([tensor('a', [2], 1, m => m)]), 'has no elements'],
  [
    'elements twice',
    model([tensor('a', [2], 1, m => m.bytes(9, bytesOf(1, 2)).bytes(4, bytesOf(1, 2)))]),
    'its elements twice',
  ],
  ['elements in pieces', model([tensor('a', [2], 1, m => m.float(4, 1).float(4, 2))]), 'whose elements are in pieces'],
  ['a list that is short', model([tensor('a', [3], 1, m => m.bytes(4, bytesOf(1, 2)))]), 'does not fit the 8 bytes'],
  ['a list of another type', model([tensor('a', [2], 1, m => m.bytes(5, bytesOf(1, 2)))]), 'does not fit the 8 bytes'],
  [
    'more numbers than elements',
    model([tensor('a', [2], 10, m => m.bytes(5, Uint8Array.of(1, 2, 3)))]),
    'more elements than its shape',
  ],
  [
    'fewer numbers than elements',
    model([tensor('a', [2], 10, m => m.bytes(5, Uint8Array.of(0x81, 2)))]),
    'a number without an end',
  ],
  ['segments', model([tensor('a', [2], 1, m => m.message(3, new Message()))]), 'in segments'],
  ['two of one name', model([tensor('a', [2]), tensor('a', [2])]), 'two tensors named "a"'],
  ['a tensor that is a number', new Message().int(1, 8).message(7, new Message().int(5, 3)).finish(), 'is no message'],
  ['a text of 70,000 bytes', model([tensor('a'.repeat(70_000), [2])]), 'a text of 70000 bytes'],
  ['graphs 5,000 deep', new Message().int(1, 8).message(7, nested(5000)).finish(), 'read'],
  ['scales that do not fit', quantisedBy(tensor('s', [2])), 'of shape [8] has 2 scales and 2 zero points'],
  ['a scale that is quantised itself', quantisedBy(tensor('s', [2], 3, m => m.bytes(9, new Uint8Array(2)))), 'read'],
])('%s is one clear line', async (_, bytes, message) => {
  expect(await outcome(bytes)).toContain(message);
});

test('a scale that is its own tensor ends', async () => {
  const own = tensor('q', [8], 3, m => m.bytes(9, new Uint8Array(8)));
  const path = join(folder, 'own.onnx');
  writeFileSync(path, model([own], [node('DequantizeLinear', ['q', 'q', 'q'], ['y'])]));
  const file = await openOnnxFile(path);
  expect(file.isQuantised('q')).toBe(false);
  await file.close();
});

describe('elements outside the file', () => {
  const inner = join(folder, 'model');
  mkdirSync(join(inner, 'sub'), { recursive: true });
  writeFileSync(join(folder, 'secret'), bytesOf(5, 6));
  writeFileSync(join(inner, 'data'), bytesOf(1, 2));
  writeFileSync(join(inner, 'sub', 'data'), bytesOf(3, 4));
  symlinkSync(join(folder, 'secret'), join(inner, 'link'));
  symlinkSync('data', join(inner, 'near'));
  symlinkSync(folder, join(inner, 'up'));
  const at = (entries: Record<string, string>): Uint8Array => model([tensor('a', [2], 1, external(entries))]);

  test.each([
    [{ location: 'data' }, 'read'],
    [{ location: './data', offset: '0', length: '8' }, 'read'],
    [{ location: 'sub/data' }, 'read'],
    [{ location: 'near' }, 'read'],
    [{ location: '../secret' }, 'its elements are in "../secret", outside its folder'],
    [{ location: 'sub/../../secret' }, 'outside its folder'],
    [{ location: 'sub\\..\\..\\secret' }, 'outside its folder'],
    [{ location: join(folder, 'secret') }, 'which is not a file in its folder'],
    [{ location: 'C:\\data' }, 'which is not a file in its folder'],
    [{ location: '\\\\host\\data' }, 'which is not a file in its folder'],
    [{ location: '' }, 'which is not a file in its folder'],
    [{ location: 'da\0ta' }, 'which is not a file in its folder'],
    [{ location: 'da\nta' }, 'which is not a file in its folder'],
    [{}, 'which is not a file in its folder'],
    [{ location: 'link' }, 'a link out of its folder'],
    [{ location: 'up/secret' }, 'a link out of its folder'],
    [{ location: 'sub' }, 'it is not a regular file'],
    [{ location: 'absent' }, 'which holds weights of'],
    [{ location: 'data', offset: '4' }, 'at byte 4 takes 8 bytes, but data has 8'],
    [{ location: 'data', offset: '9007199254740991' }, 'takes 8 bytes, but data has 8'],
    [{ location: 'data', offset: '-1' }, 'has the offset "-1"'],
    [{ location: 'data', offset: '1e1' }, 'has the offset "1e1"'],
    [{ location: 'data', offset: '99999999999999999999' }, 'has the offset "99999999999999999999"'],
    [{ location: 'data', length: '4' }, 'takes 8 bytes but has 4'],
  ])('at %j', async (entries, message) => {
    expect(await outcome(at(entries), inner)).toContain(message);
  });

  test('are found where the hub keeps them: links into one folder of blobs', async () => {
    const [blobs, snapshot] = [join(folder, 'blobs'), join(folder, 'snapshots', 'onnx')];
    for (const made of [blobs, snapshot]) mkdirSync(made, { recursive: true });
    copyFileSync(join(goldens, 'external.onnx'), join(blobs, 'aa'));
    copyFileSync(join(goldens, 'external.onnx_data'), join(blobs, 'bb'));
    symlinkSync('../../blobs/aa', join(snapshot, 'external.onnx'));
    symlinkSync('../../blobs/bb', join(snapshot, 'external.onnx_data'));
    const file = await openOnnxFile(join(snapshot, 'external.onnx'));
    expect([...(await file.readFloat32('raw/float32'))]).toEqual(expected.stored['raw/float32'].values);
    await file.close();
  });
});

test.each(['all.onnx', 'external.onnx', 'quantised.onnx'])(
  'no change of %s does anything but end in one line or give whole tensors',
  async name => {
    const good = readFileSync(join(goldens, name));
    const place = join(folder, 'fuzz');
    mkdirSync(place, { recursive: true });
    copyFileSync(join(goldens, 'external.onnx_data'), join(place, 'external.onnx_data'));
    const counts = { read: 0, refused: 0 };
    const edit = fc.record({ at: fc.nat(good.length - 1), bytes: fc.uint8Array({ minLength: 1, maxLength: 3 }) });
    await fc.assert(
      fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 3 }), fc.nat(good.length), async (edits, cut) => {
        const bytes = Buffer.from(good.subarray(0, cut % 5 === 0 ? cut : good.length));
        for (const { at, bytes: replacement } of edits)
          if (at < bytes.length) bytes.set(replacement.subarray(0, bytes.length - at), at);
        counts[(await outcome(bytes, place)) === 'read' ? 'read' : 'refused']++;
      }),
      { numRuns: 300, seed: 1 },
    );
    expect(counts.read).toBeGreaterThan(0);
    expect(counts.refused).toBeGreaterThan(50);
  },
);

test('a file cut at any byte is one clear line', async () => {
  const good = readFileSync(join(goldens, 'quantised.onnx'));
  // The graph is followed by the ten bytes of fields that are not needed.
  for (let length = 0; length < good.length - 10; length += 7) {
    expect(await outcome(good.subarray(0, length))).not.toBe('read');
  }
});
