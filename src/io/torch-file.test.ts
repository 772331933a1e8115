import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import {
  call,
  dict,
  global,
  list,
  no,
  none,
  object,
  type Pickled,
  persistent,
  pickleOf,
  real,
  text,
  tuple,
  whole,
  yes,
} from '../../test/pickle-writer.ts';
import { type ExpectedTensor, tensorFileCases } from '../../test/tensor-file.cases.ts';
import { type ZipPart, zipOf } from '../../test/zip-writer.ts';
import { S3aError } from '../errors.ts';
import { openTorchFile } from './torch-file.ts';

const goldens = fileURLToPath(new URL('../../test/goldens/io/torch/', import.meta.url));
const golden = JSON.parse(readFileSync(join(goldens, 'golden.json'), 'utf8')) as Record<
  string,
  Record<string, ExpectedTensor>
>;
const folder = mkdtempSync(join(tmpdir(), 's3a-torch-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const files = Object.keys(golden).filter(name => name.endsWith('.pt'));
test('there are goldens of each kind', () => expect(files.length).toBeGreaterThan(10));
for (const name of files) tensorFileCases(name, () => openTorchFile(join(goldens, name)), golden[name]);

test('module. stays when the names are asked for as they are', async () => {
  const file = await openTorchFile(join(goldens, 'checkpoint.pt'), { keepNames: true });
  expect(file.names).toContain('module.embed.weight');
  expect(file.names.every(name => name.startsWith('module.'))).toBe(true);
  await file.close();
});

interface View {
  key?: string;
  type?: string;
  numel?: Pickled;
  offset?: Pickled;
  shape?: Pickled;
  strides?: Pickled;
}

/** A tensor of 6 floats on the storage `0`, unless told otherwise. */
function tensor({
  key = '0',
  type = 'FloatStorage',
  numel = whole(6),
  offset = whole(0),
  shape = tuple(whole(2), whole(3)),
  strides = tuple(whole(3), whole(1)),
}: View = {}): Pickled {
  const storage = persistent(tuple(text('storage'), global('torch', type), text(key), text('cpu'), numel));
  const hooks = call(global('collections', 'OrderedDict'));
  return call(global('torch._utils', '_rebuild_tensor_v2'), storage, offset, shape, strides, none, hooks);
}

const numbers = Buffer.from(Float32Array.from([1, 2, 3, 4, 5, 6]).buffer);

/** Writes an archive of this root object, with a storage `0` of 24 bytes; `parts` are added or put in place. */
function write(root: Pickled, parts: readonly ZipPart[] = [], options: Parameters<typeof zipOf>[1] = {}): string {
  const all = new Map<string, ZipPart>();
  for (const part of [{ name: 'x/data.pkl', data: pickleOf(root) }, { name: 'x/data/0', data: numbers }, ...parts]) {
    all.set(part.name, part);
  }
  const path = join(folder, 'x.pt');
  writeFileSync(path, zipOf([...all.values()], options));
  return path;
}

async function valuesOf(path: string, name: string): Promise<number[]> {
  const file = await openTorchFile(path);
  try {
    return [...(await file.readFloat32(name))];
  } finally {
    await file.close();
  }
}

async function errorOf(opening: Promise<unknown>): Promise<S3aError> {
  const error = await opening.catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(S3aError);
  expect((error as S3aError).message).not.toContain('\n');
  return error as S3aError;
}

test('reads what the helper of the hostile cases writes', async () => {
  expect(await valuesOf(write(dict({ w: tensor() })), 'w')).toEqual([1, 2, 3, 4, 5, 6]);
  const turned = tensor({ shape: tuple(whole(3), whole(2)), strides: tuple(whole(1), whole(3)) });
  expect(await valuesOf(write(dict({ w: turned }), [], { zip64: true }), 'w')).toEqual([1, 4, 2, 5, 3, 6]);
  const last = tensor({ offset: whole(5), shape: tuple(), strides: tuple() });
  expect(await valuesOf(write(dict({ w: last })), 'w')).toEqual([6]);
});

const huge = 10n ** 10n;

test.each<[string, View, string]>([
  ['starts past its storage', { offset: whole(1) }, 'reaches element 6 of the 6 in its storage'],
  ['starts before it', { offset: whole(-1) }, 'the impossible shape'],
  ['starts at a fraction', { offset: real(0.5) }, 'the impossible shape'],
  ['starts at 10^10', { offset: whole(huge) }, 'reaches element 10000000005'],
  ['has a larger shape', { shape: tuple(whole(3), whole(3)) }, 'reaches element 8'],
  ['has 10^20 elements', { shape: tuple(whole(huge), whole(huge)) }, 'in its storage'],
  [
    'has a size beyond 2^53',
    { shape: tuple(whole(2n ** 62n), whole(3)) },
    'asks to call torch._utils._rebuild_tensor_v2',
  ],
  [
    'has a size that is no number',
    { shape: tuple(text('2'), whole(3)) },
    'asks to call torch._utils._rebuild_tensor_v2',
  ],
  ['has a size that is not a number', { shape: tuple(real(Number.NaN), whole(3)) }, 'the impossible shape'],
  ['has an infinite size', { shape: tuple(real(Number.POSITIVE_INFINITY), whole(3)) }, 'the impossible shape'],
  ['has a negative size', { shape: tuple(whole(-2), whole(3)) }, 'the impossible shape'],
  ['has two negative sizes', { shape: tuple(whole(-2), whole(-3)) }, 'the impossible shape'],
  ['has longer strides', { strides: tuple(whole(4), whole(1)) }, 'reaches element 6'],
  ['has negative strides', { strides: tuple(whole(-3), whole(1)) }, 'the impossible shape'],
  ['has too few strides', { strides: tuple(whole(1)) }, 'the impossible shape'],
  ['has no shape', { shape: none }, 'asks to call torch._utils._rebuild_tensor_v2 in an unknown way'],
  [
    'has 65 axes',
    { shape: tuple(...Array<Pickled>(65).fill(whole(1))) },
    'asks to call torch._utils._rebuild_tensor_v2',
  ],
  [
    'repeats itself to 40 GB',
    { shape: tuple(whole(huge)), strides: tuple(whole(0)) },
    'repeats 6 elements to 10000000000',
  ],
  ['lies in no storage of the file', { key: '7' }, 'lies in the storage "7", which is not stored in the file'],
  ['lies in a storage of another folder', { key: '../data.pkl' }, 'which is not stored in the file'],
  ['lies in a longer storage', { numel: whole(7) }, 'of 7 elements, F32, but the file has 24 bytes of it'],
  [
    'lies in a storage of 40 GB',
    { numel: whole(huge) },
    'of 10000000000 elements, F32, but the file has 24 bytes of it',
  ],
  ['lies in a storage of -6', { numel: whole(-6) }, 'no storage of numbers'],
  ['lies in a storage of a fraction', { numel: real(6.5) }, 'no storage of numbers'],
  ['lies in a storage of 2^62', { numel: whole(2n ** 62n) }, 'no storage of numbers'],
  ['has another type', { type: 'DoubleStorage' }, 'of 6 elements, F64, but the file has 24 bytes of it'],
  ['has a type of quantised numbers', { type: 'QInt8Storage' }, 'asks for torch.QInt8Storage'],
  ['has a storage that is a function', { type: 'Size' }, 'no storage of numbers'],
])('a tensor that %s is one clear line', async (_, view, message) => {
  expect((await errorOf(openTorchFile(write(dict({ w: tensor(view) }))))).message).toContain(message);
});

const data = pickleOf(dict({ w: tensor() }));
const bomb = { name: 'x/data.pkl', data: Buffer.concat([data, Buffer.alloc(40_000_000)]), method: 8 };

test.each<[string, readonly ZipPart[], string]>([
  ['has a pickle that inflates to 40 MB', [bomb], 'has 40000'],
  [
    'has a pickle that inflates to more than it says',
    [{ ...bomb, claim: { size: data.length } }],
    'does not inflate to',
  ],
  [
    'has deflated tensors',
    [{ name: 'x/data/0', data: numbers, method: 8 }],
    'lies in the storage "0", which is not stored',
  ],
  [
    'has storages that overlap',
    [{ name: 'x/data/1', data: numbers, claim: { header: 170 } }],
    'reaches into what follows it',
  ],
  [
    'has a storage at the place of another',
    [{ name: 'x/data/1', data: numbers, claim: { header: 0 } }],
    'reaches into what follows it',
  ],
  [
    'has its storage past the end',
    [{ name: 'x/data/0', data: numbers, claim: { header: 1e9 } }],
    'reaches into what follows it',
  ],
  [
    'lies about its storage',
    [{ name: 'x/data/0', data: numbers, claim: { size: 8, compressed: 8 } }],
    'but the file has 8 bytes of it',
  ],
  ['has a longer storage', [{ name: 'x/data/0', data: Buffer.alloc(28) }], 'but the file has 28 bytes of it'],
  ['is big-endian', [{ name: 'x/byteorder', data: Buffer.from('big') }], 'has the byte order "big", not "little"'],
  ['has a byte order of 1 MB', [{ name: 'x/byteorder', data: Buffer.alloc(1e6) }], 'at most 100 are read'],
  ['has two pickles', [{ name: 'y/data.pkl', data }], 'it has 2 entries data.pkl instead of one'],
])('an archive that %s is one clear line', async (_, parts, message) => {
  expect((await errorOf(openTorchFile(write(dict({ w: tensor() }), parts)))).message).toContain(message);
});

const module_ = (name: string, state: Pickled): Pickled => object(global(`__torch__.${name}`, 'M'), state);

test('classes of TorchScript are for archives of TorchScript', async () => {
  const root = module_('a', dict({ w: tensor(), inner: module_('b', dict({ w: tensor() })) }));
  expect((await errorOf(openTorchFile(write(root)))).message).toContain('asks for __torch__.a.M');
  const file = await openTorchFile(write(root, [{ name: 'x/constants.pkl', data: pickleOf(tuple()) }]));
  expect(file.names).toEqual(['w', 'inner.w']);
  await file.close();
});

const depth = 100;
const deep = Array.from({ length: depth }).reduce<Pickled>(
  state => dict({ m: module_('a', state) }),
  dict({ w: tensor() }),
);
// 30 modules, each of which has the one before twice: 2^30 tensors.
const twice = (): Pickled => {
  const [kept, again] = [Buffer.from('q\0'), Buffer.from('h\0')];
  let inner = Buffer.concat([module_('a', dict({ w: tensor() })), kept]);
  for (let i = 0; i < 30; i++) inner = Buffer.concat([module_('a', dict({ l: inner, r: again })), kept]);
  return inner;
};
// A module that is its own child.
const round = Buffer.concat([global('__torch__', 'M'), Buffer.from(')\x81q\0}X\x01\0\0\0mh\0sb', 'latin1')]);

test.each<[string, Pickled, string]>([
  ['nests 100 modules', module_('a', deep), 'nests its modules more than 50 deep'],
  ['holds itself', round, 'nests its modules more than 50 deep'],
  ['multiplies its modules', twice(), 'has more than 500000 attributes'],
  [
    'has a name of 1000 characters',
    module_('a', dict({ ['n'.repeat(1000)]: tensor() })),
    'a tensor name of 1000 characters',
  ],
  [
    'has two tensors of a name',
    module_('a', dict({ 'b.w': tensor(), b: module_('b', dict({ w: tensor() })) })),
    'two tensors named "b.w"',
  ],
  ['has no tensors', module_('a', dict({ a: whole(1) })), 'a TorchScript archive without tensors'],
  ['has a state that is no dict', module_('a', tuple(tensor())), 'a TorchScript archive without tensors'],
])('a TorchScript archive that %s is one clear line', async (_, root, message) => {
  const path = write(root, [{ name: 'x/constants.pkl', data: pickleOf(tuple()) }]);
  expect((await errorOf(openTorchFile(path))).message).toContain(message);
});

test.each<[string, Pickled, string]>([
  ['a number', whole(1), 'holds no state dict: it is no dict with names'],
  ['a tensor', tensor(), 'holds no state dict: it is no dict with names'],
  ['a list of tensors', list(tensor()), 'holds no state dict: it is no dict with names'],
  ['an empty dict', dict({}), 'holds no state dict: it is no dict with names'],
  [
    'a dict without tensors',
    dict({ epoch: whole(1), 'a\nb': none }),
    'holds no state dict: its keys are ["epoch","a\\nb"]',
  ],
  ['a call of os.system', call(global('posix', 'system'), text('id')), 'asks for posix.system; s3a reads tensors only'],
])('a file of %s is one clear line', async (_, root, message) => {
  expect((await errorOf(openTorchFile(write(root)))).message).toContain(message);
});

test('finds the state dict under the usual keys, and only takes off a prefix that all names have', async () => {
  const inner = dict({ 'module.w': tensor(), bias: tensor() });
  for (const root of [inner, dict({ model: inner }), dict({ epoch: tensor(), model: dict({ state_dict: inner }) })]) {
    const file = await openTorchFile(write(root));
    expect(file.names).toEqual(['module.w', 'bias']);
    await file.close();
  }
});

test.each<[string, string | Buffer, string]>([
  ['nothing', '', 'is no PyTorch file'],
  ['HTML', '<!doctype html>', 'is no PyTorch file'],
  ['a pointer of Git LFS', 'version https://git-lfs.github.com/spec/v1\noid sha256:0\n', 'is only a Git LFS pointer'],
  [
    'an archive without a pickle',
    zipOf([{ name: 'word/document.xml', data: numbers }]),
    'it has 0 entries data.pkl instead of one',
  ],
  ['the start of an archive', zipOf([{ name: 'x/data.pkl', data }]).subarray(0, 60), 'it was cut short'],
  ['a plain pickle', pickleOf(dict({ w: whole(1) })), 'is no PyTorch file'],
])('a file of %s is one clear line', async (_, content, message) => {
  const path = join(folder, 'other.pt');
  writeFileSync(path, content);
  expect((await errorOf(openTorchFile(path))).message).toContain(message);
  await expect(openTorchFile(folder)).rejects.toMatchObject({ code: 'READ' });
});

test('no file that was cut short is read', async () => {
  const path = join(folder, 'short.pt');
  for (const name of ['state-dict.pt', 'state-dict-legacy.pt']) {
    const bytes = readFileSync(join(goldens, name));
    for (let length = 0; length < bytes.length; length += 37) {
      writeFileSync(path, bytes.subarray(0, length));
      await errorOf(openTorchFile(path));
    }
  }
});

interface Legacy {
  version?: Pickled;
  system?: Pickled;
  root?: Pickled;
  keys?: Pickled;
  count?: bigint;
  bytes?: Uint8Array;
}

/** Writes a file of the format before PyTorch 1.6, with one storage of 6 floats unless told otherwise. */
function writeLegacy({
  version = whole(1001),
  system = dict({ little_endian: yes }),
  root = dict({ w: tensor() }),
  keys = list(text('0')),
  count = 6n,
  bytes = numbers,
}: Legacy = {}): string {
  const pickles = [whole(0x1950a86a20f9469cfc6cn), version, system, root, keys].map(pickleOf);
  const path = join(folder, 'legacy.pt');
  writeFileSync(path, Buffer.concat([...pickles, new Uint8Array(BigInt64Array.of(count).buffer), bytes]));
  return path;
}

test('reads what the helper of the hostile legacy cases writes', async () => {
  expect(await valuesOf(writeLegacy(), 'w')).toEqual([1, 2, 3, 4, 5, 6]);
});

const storageOf = (last: Pickled): Pickled =>
  tuple(text('storage'), global('torch', 'FloatStorage'), text('0'), text('cpu'), whole(6), last);

test.each<[string, Legacy, string]>([
  ['is big-endian', { system: dict({ little_endian: no }) }, 'a version or byte order that is not known'],
  ['has another version', { version: whole(1002) }, 'a version or byte order that is not known'],
  ['has keys that are no list', { keys: none }, 'a version or byte order that is not known'],
  ['lists a storage that nothing uses', { keys: list(text('1')) }, 'does not hold the storages that it lists'],
  ['lists a storage twice', { keys: list(text('0'), text('0')) }, 'does not hold the storages that it lists'],
  ['lists a number', { keys: list(whole(0)) }, 'does not hold the storages that it lists'],
  ['does not list its storage', { keys: list() }, 'which is not stored in the file'],
  ['has fewer elements', { count: 5n }, 'was cut short or damaged: a storage of 6 elements'],
  ['has 2^62 elements', { count: 2n ** 62n }, 'was cut short or damaged'],
  ['has -1 elements', { count: -1n }, 'was cut short or damaged'],
  [
    'has 10^10 elements',
    { root: dict({ w: tensor({ numel: whole(huge) }) }), count: huge },
    'was cut short or damaged',
  ],
  ['lacks a byte', { bytes: numbers.subarray(1) }, 'was cut short or damaged'],
  [
    'has a storage that is part of another',
    { root: dict({ w: persistent(storageOf(tuple(text('1'), whole(0), whole(6)))) }) },
    'no storage of numbers',
  ],
  [
    'has a whole module',
    { root: persistent(tuple(text('module'), global('torch', 'Size'), text('m.py'), text('import os'))) },
    'no storage of numbers',
  ],
  ['calls os.system', { root: call(global('os', 'system'), text('id')) }, 'asks for os.system'],
  ['calls os.system among the keys', { keys: call(global('os', 'system'), text('id')) }, 'asks for os.system'],
])('a legacy file that %s is one clear line', async (_, wrong, message) => {
  expect((await errorOf(openTorchFile(writeLegacy(wrong)))).message).toContain(message);
});
