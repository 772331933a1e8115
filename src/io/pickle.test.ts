import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import {
  call,
  dict,
  global,
  list,
  none,
  object,
  persistent,
  pickleOf,
  text,
  tuple,
  whole,
} from '../../test/pickle-writer.ts';
import { S3aError } from '../errors.ts';
import { unpickle } from './pickle.ts';
import { findTorchGlobal, torchStorage } from './torch-pickle.ts';

interface Golden {
  plain: Record<string, string>;
  value: unknown;
  large: string;
  largeValue: string[];
  hostile: Record<string, [pickle: string, name: string]>;
}

const path = fileURLToPath(new URL('../../test/goldens/io/torch/pickles.json', import.meta.url));
const golden = JSON.parse(readFileSync(path, 'utf8')) as Golden;

function load(bytes: Uint8Array): unknown {
  const options = { path: 'weights.pt', find: findTorchGlobal(true), persistent: torchStorage };
  return unpickle(new Uint8Array(bytes), options).value;
}

function errorOf(bytes: Uint8Array): S3aError {
  try {
    load(bytes);
  } catch (error) {
    expect(error).toBeInstanceOf(S3aError);
    expect((error as S3aError).code).toBe('PICKLE');
    expect((error as S3aError).message).not.toContain('\n');
    return error as S3aError;
  }
  throw new Error('it was unpickled');
}

/** Maps as objects, to compare with JSON. */
function plainOf(value: unknown): unknown {
  if (value instanceof Map) return Object.fromEntries([...value].map(([key, item]) => [key, plainOf(item)]));
  return Array.isArray(value) ? value.map(plainOf) : value;
}

test.each(Object.keys(golden.plain))('reads what Python pickles by protocol %s', protocol => {
  expect(plainOf(load(Buffer.from(golden.plain[protocol], 'base64')))).toEqual(golden.value);
});

test('keeps integers from 2^53 on as they are', () => {
  const value = load(Buffer.from(golden.large, 'base64')) as Map<string, bigint[]>;
  expect(value.get('large')).toEqual(golden.largeValue.map(BigInt));
});

test('tells tuples from lists, and where a pickle ends', () => {
  const bytes = new Uint8Array(Buffer.concat([pickleOf(tuple(whole(-129), none)), pickleOf(list(text('ä')))]));
  const options = { path: 'x', find: () => undefined };
  const one = unpickle(bytes, options);
  expect(one.value).toEqual([-129, null]);
  expect(Object.isFrozen(one.value)).toBe(true);
  const two = unpickle(bytes, options, one.end);
  expect(two).toEqual({ value: ['ä'], end: bytes.length });
  expect(Object.isFrozen(two.value)).toBe(false);
});

test.each(Object.entries(golden.hostile))(
  'a pickle of Python that asks for %s is one clear line',
  (_, [pickle, name]) => {
    const { message } = errorOf(Buffer.from(pickle, 'base64'));
    expect(message).toContain('weights.pt asks ');
    expect(message).toContain(name);
    expect(message).toContain('; s3a reads tensors only');
  },
);

const system = global('os', 'system');

test.each<[string, Buffer, string]>([
  ['calls os.system', call(system, text('touch owned')), 'asks for os.system'],
  ['only names it', system, 'asks for os.system'],
  ['names it by texts', Buffer.concat([text('os'), text('system'), Buffer.from([0x93])]), 'asks for os.system'],
  ['names it in an attribute of an allowed name', global('torch', 'Size.__class__'), 'asks for torch.Size.__class__'],
  ['names what every object has', global('torch', 'constructor'), 'asks for torch.constructor'],
  ['names the prototype', global('__proto__', 'constructor'), 'asks for __proto__.constructor'],
  [
    'names it with a line break',
    Buffer.concat([text('os\nx'), text('system'), Buffer.from([0x93])]),
    'asks for "os\\nx.system"',
  ],
  ['makes an INST', Buffer.from('(ios\nsystem\n'), 'asks for an object of os.system'],
  ['makes an OBJ', Buffer.concat([Buffer.from('('), global('torch', 'Size'), Buffer.from('o')]), 'made with arguments'],
  [
    'makes a NEWOBJ_EX',
    Buffer.concat([global('torch', 'Size'), tuple(), dict({}), Buffer.from([0x92])]),
    'made with arguments',
  ],
  ['makes an object of a function', object(global('torch', 'Size'), none), 'asks for an object of torch.Size'],
  [
    'gives arguments to a class',
    Buffer.concat([global('__torch__', 'M'), tuple(none), Buffer.from([0x81])]),
    'an object of __torch__.M',
  ],
  ['calls a class of TorchScript', call(global('__torch__', 'M'), none), 'asks to call __torch__.M in an unknown way'],
  [
    'sets the state of a function',
    Buffer.concat([global('torch', 'Size'), dict({}), Buffer.from('b')]),
    'asks to set the state',
  ],
  ['sets the state of a list', Buffer.concat([list(), dict({}), Buffer.from('b')]), 'asks to set the state'],
  ['asks for an extension', Buffer.from([0x82, 1]), 'extension registry'],
  ['asks for a large extension', Buffer.from([0x84, 1, 2, 3, 4]), 'extension registry'],
  ['asks for a buffer', Buffer.from([0x97]), 'a buffer outside of the file'],
  ['has a persistent module', persistent(tuple(text('module'), none, none, none)), 'no storage of numbers'],
  ['has a persistent text', persistent(text('0')), 'no storage of numbers'],
  ['calls a text', call(text('os.system'), none), 'it calls what is no function'],
  [
    'calls with a dict',
    Buffer.concat([global('torch', 'Size'), dict({}), Buffer.from('R')]),
    'it calls what is no function',
  ],
  ['makes an object of a text', object(text('M'), none), 'of what is no class'],
  ['appends to a tuple', Buffer.concat([tuple(), none, Buffer.from('a')]), 'appends to what is no list'],
  ['sets items of a list', Buffer.concat([list(), none, none, Buffer.from('s')]), 'sets items of what is no dict'],
  [
    'sets an odd number of items',
    Buffer.concat([Buffer.from('}('), none, Buffer.from('u')]),
    'sets items of what is no dict',
  ],
  [
    'adds to a list',
    Buffer.concat([list(), Buffer.from('('), none, Buffer.from([0x90])]),
    'adds items to what is no set',
  ],
  ['takes from nothing', Buffer.from('0'), 'takes a value where none is'],
  ['takes values below a mark', Buffer.concat([none, Buffer.from('(0')]), 'takes a value where none is'],
  ['takes up to no mark', Buffer.from('t'), 'a mark that is not there'],
  ['recalls what it never kept', Buffer.from('h\x07'), 'recalls the value 7'],
  ['has an unknown instruction', Buffer.from([0xff]), 'the instruction 255 is not known'],
  ['has a text instruction of protocol 0', Buffer.from('I1\n'), 'the instruction 73 is not known'],
  ['has a name without an end', Buffer.from(`c${'a'.repeat(1000)}`), 'a name in it does not end'],
  ['has a name of a number', Buffer.concat([none, none, Buffer.from([0x93])]), 'no short text'],
  ['has a text of 4 GB', Buffer.from('X\xff\xff\xff\xff', 'latin1'), 'it breaks off'],
  ['has bytes of 2^64', Buffer.from([0x8e, 255, 255, 255, 255, 255, 255, 255, 255]), 'it breaks off'],
  ['has a negative length', Buffer.from([0x8b, 255, 255, 255, 255]), 'it breaks off'],
  [
    'has an integer of 1000 bytes',
    Buffer.concat([Buffer.from([0x8b, 0xe8, 3, 0, 0]), Buffer.alloc(1000)]),
    'of 1000 bytes is too long',
  ],
  ['has a frame beyond its end', Buffer.from([0x95, 255, 255, 255, 255, 0, 0, 0, 0]), 'it breaks off'],
  ['has no end', Buffer.alloc(0), 'it breaks off'],
  ['has a protocol of the future', Buffer.from([0x80, 6]), 'protocol 6 is not known'],
])('a pickle that %s is one clear line', (what, body, message) => {
  const end = what === 'has no end' ? '' : '.';
  expect(errorOf(Buffer.concat([Buffer.from([0x80, 2]), body, Buffer.from(end)])).message).toContain(message);
});

test('no prefix of a good pickle is taken for one', () => {
  const bytes = Buffer.from(golden.plain[4], 'base64');
  for (let length = 0; length < 1500; length++) errorOf(bytes.subarray(0, length));
});

test.each<[string, string, string]>([
  ['values', 'N', 'more than 5000000 values'],
  ['containers', '}', 'more than 1000000 containers'],
  ['calls', '', 'more than 1000000 containers'],
  ['marks', '(', 'nested too deeply'],
])('millions of %s are refused', (what, instruction, message) => {
  const size = 6_000_000;
  if (what !== 'calls') return void expect(errorOf(Buffer.alloc(size, instruction)).message).toContain(message);
  // The dict of a call that is repeated from the memo.
  const start = Buffer.concat([global('collections', 'OrderedDict'), Buffer.from('q\0')]);
  const repeated = Buffer.from('h\0)R'.repeat(size / 4));
  expect(errorOf(Buffer.concat([start, repeated])).message).toContain(message);
});

test('lists that hold themselves and each other end', () => {
  // l = []; l.append(l), then a chain of lists that hold the one before twice: 2^200 paths.
  const links = Array.from(
    { length: 200 },
    (_, i) => `](h${String.fromCharCode(i)}h${String.fromCharCode(i)}eq${String.fromCharCode(i + 1)}`,
  );
  const value = load(Buffer.from(`\x80\x02]q\0h\0a${links.join('')}.`, 'latin1'));
  expect((value as unknown[]).length).toBe(2);
});
