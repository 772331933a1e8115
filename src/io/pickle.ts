/** An unpickler (protocols 2 to 5) that runs nothing: a pickle gets the names that its caller allows, and no other. */
import { S3aError } from '../errors.ts';
import { badPickle, MAX_NAME, type PickleReader, readPickle } from './pickle-reader.ts';
import { type PickleStack, pickleStack } from './pickle-stack.ts';

/**
 * What a pickle holds: null, booleans, numbers (bigint from 2^53 on), strings, Uint8Array for bytes, arrays for lists, frozen arrays for
 * tuples, Map for dicts, Set for sets, and what the caller's globals and persistent ids give.
 */
export type PickleValue = unknown;

/** A function or class that a pickle may name; without `call` and `create` it is only a value. */
export interface PickleGlobal {
  readonly kind: 'global';
  readonly name: string;
  /** What calling it gives, undefined when it cannot be called so. It must not copy what it is given: a pickle may repeat a call. */
  readonly call?: (args: readonly PickleValue[]) => object | undefined;
  /** A class whose objects are made without arguments and get their state afterwards. */
  readonly create?: () => PickleObject;
}

/** An object of a class that the caller allows: its state is kept, its class is a name. */
export interface PickleObject {
  readonly kind: 'object';
  readonly className: string;
  state: PickleValue;
}

export interface PickleOptions {
  /** For messages. */
  path: string;
  /** The function or class of this name (`module.name`), undefined when it is not allowed. */
  find(name: string): PickleGlobal | undefined;
  /** What a persistent id stands for, undefined when it is not understood; without this, such ids are refused. */
  persistent?(id: PickleValue): object | undefined;
  /** What Python 2's strings of 256 bytes and more are: texts (default), or bytes, for files whose arrays are kept in such strings. */
  longStrings?: 'text' | 'bytes';
}

/**
 * The first pickle in `bytes` from `start` on, and where it ends. Time and memory are bounded by its length.
 *
 * Throws S3aError PICKLE for a damaged pickle, one over the limits, and one that asks for anything but plain values and the names that
 * `find` knows.
 */
export function unpickle(
  bytes: Uint8Array<ArrayBuffer>,
  options: PickleOptions,
  start = 0,
): { value: PickleValue; end: number } {
  const input = readPickle(bytes, start, options.path);
  const machine: Machine = { ...options, input, stack: pickleStack(options.path) };
  for (;;) {
    const opcode = input.byte();
    if (opcode === STOP) return { value: machine.stack.pop(), end: input.at };
    const run = INSTRUCTIONS[String.fromCharCode(opcode)];
    if (!run) throw badPickle(options.path, `the instruction ${opcode} is not known`);
    run(machine);
  }
}

/** Whether a value is an object of an allowed class. */
export function isPickleObject(value: PickleValue): value is PickleObject {
  return isKind(value, 'object');
}

interface Machine extends PickleOptions {
  input: PickleReader;
  stack: PickleStack;
}

const STOP = '.'.charCodeAt(0);

/** What each instruction does; the names are those of CPython's pickle.py. */
const INSTRUCTIONS: Readonly<Record<string, (machine: Machine) => void>> = {
  // PROTO, FRAME
  '\x80': ({ input, path }) => {
    const protocol = input.byte();
    if (protocol > 5) throw badPickle(path, `protocol ${protocol} is not known`);
  },
  '\x95': ({ input }) => input.expect(input.uint64()),
  // NONE, NEWTRUE, NEWFALSE
  N: ({ stack }) => stack.push(null),
  '\x88': ({ stack }) => stack.push(true),
  '\x89': ({ stack }) => stack.push(false),
  // BININT, BININT1, BININT2, LONG1, LONG4, BINFLOAT
  J: ({ input, stack }) => stack.push(input.int32()),
  K: ({ input, stack }) => stack.push(input.byte()),
  M: ({ input, stack }) => stack.push(input.uint16()),
  '\x8a': ({ input, stack }) => stack.push(input.integer(input.byte())),
  '\x8b': ({ input, stack }) => stack.push(input.integer(input.int32())),
  G: ({ input, stack }) => stack.push(input.float64()),
  // BINUNICODE, SHORT_BINUNICODE, BINUNICODE8; SHORT_BINSTRING and BINSTRING are Python 2's texts
  X: ({ input, stack }) => stack.push(input.text(input.uint32())),
  '\x8c': ({ input, stack }) => stack.push(input.text(input.byte())),
  '\x8d': ({ input, stack }) => stack.push(input.text(input.uint64())),
  U: ({ input, stack }) => stack.push(input.text(input.byte())),
  T: ({ input, stack, longStrings }) =>
    longStrings === 'bytes' ? stack.pushContainer(input.bytes(input.uint32())) : stack.push(input.text(input.uint32())),
  // SHORT_BINBYTES, BINBYTES, BINBYTES8, BYTEARRAY8
  C: ({ input, stack }) => stack.pushContainer(input.bytes(input.byte())),
  B: ({ input, stack }) => stack.pushContainer(input.bytes(input.uint32())),
  '\x8e': ({ input, stack }) => stack.pushContainer(input.bytes(input.uint64())),
  '\x96': ({ input, stack }) => stack.pushContainer(input.bytes(input.uint64())),
  // EMPTY_LIST, EMPTY_DICT, EMPTY_SET, EMPTY_TUPLE
  ']': ({ stack }) => stack.pushContainer([]),
  '}': ({ stack }) => stack.pushContainer(new Map()),
  '\x8f': ({ stack }) => stack.pushContainer(new Set()),
  ')': ({ stack }) => stack.pushTuple([]),
  // MARK, TUPLE, TUPLE1, TUPLE2, TUPLE3, FROZENSET
  '(': ({ stack }) => stack.mark(),
  t: ({ stack }) => stack.pushTuple(stack.popMark()),
  '\x85': ({ stack }) => stack.pushTuple(takeLast(stack, 1)),
  '\x86': ({ stack }) => stack.pushTuple(takeLast(stack, 2)),
  '\x87': ({ stack }) => stack.pushTuple(takeLast(stack, 3)),
  '\x91': ({ stack }) => stack.pushContainer(new Set(stack.popMark())),
  // APPEND, APPENDS, SETITEM, SETITEMS, ADDITEMS
  a: ({ stack }) => stack.append(takeLast(stack, 1)),
  e: ({ stack }) => stack.append(stack.popMark()),
  s: ({ stack }) => stack.setItems(takeLast(stack, 2)),
  u: ({ stack }) => stack.setItems(stack.popMark()),
  '\x90': ({ stack }) => stack.addItems(stack.popMark()),
  // POP, POP_MARK, DUP
  '0': ({ stack }) => void stack.pop(),
  '1': ({ stack }) => void stack.popMark(),
  '2': ({ stack }) => stack.push(stack.top()),
  // BINPUT, LONG_BINPUT, MEMOIZE, BINGET, LONG_BINGET
  q: ({ input, stack }) => stack.keep(input.byte()),
  r: ({ input, stack }) => stack.keep(input.uint32()),
  '\x94': ({ stack }) => stack.keep(),
  h: ({ input, stack }) => stack.recall(input.byte()),
  j: ({ input, stack }) => stack.recall(input.uint32()),
  // GLOBAL, STACK_GLOBAL
  c: machine => pushGlobal(machine, `${machine.input.line()}.${machine.input.line()}`),
  '\x93': machine => pushGlobal(machine, takeLast(machine.stack, 2).map(shortText(machine)).join('.')),
  // REDUCE, NEWOBJ, BUILD, BINPERSID
  R: reduce,
  '\x81': newObject,
  b: build,
  Q: persistentId,
  // INST, OBJ, NEWOBJ_EX, EXT1, EXT2, EXT4, NEXT_BUFFER, READONLY_BUFFER
  i: ({ input, path }) => refuse(path, `for an object of ${quote(`${input.line()}.${input.line()}`)}`),
  o: ({ path }) => refuse(path, 'for an object that is made with arguments'),
  '\x92': ({ path }) => refuse(path, 'for an object that is made with arguments'),
  '\x82': ({ path }) => refuse(path, 'for a function of the extension registry'),
  '\x83': ({ path }) => refuse(path, 'for a function of the extension registry'),
  '\x84': ({ path }) => refuse(path, 'for a function of the extension registry'),
  '\x97': ({ path }) => refuse(path, 'for a buffer outside of the file'),
  '\x98': ({ path }) => refuse(path, 'for a buffer outside of the file'),
};

/** The uppermost values, in the order in which they were pushed. */
function takeLast(stack: PickleStack, count: number): PickleValue[] {
  return Array.from({ length: count }, () => stack.pop()).reverse();
}

function pushGlobal({ find, path, stack }: Machine, name: string): void {
  stack.push(find(name) ?? refuse(path, `for ${quote(name)}`));
}

function reduce({ path, stack }: Machine): void {
  const [callee, args] = takeLast(stack, 2);
  if (!isGlobal(callee) || !Array.isArray(args)) throw badPickle(path, 'it calls what is no function');
  stack.pushContainer(callee.call?.(args) ?? refuse(path, `to call ${quote(callee.name)} in an unknown way`));
}

function newObject({ path, stack }: Machine): void {
  const [type, args] = takeLast(stack, 2);
  if (!isGlobal(type)) throw badPickle(path, 'it makes an object of what is no class');
  const plain = Array.isArray(args) && args.length === 0;
  stack.pushContainer((plain && type.create?.()) || refuse(path, `for an object of ${quote(type.name)}`));
}

function build({ path, stack }: Machine): void {
  const state = stack.pop();
  const target = stack.top();
  if (isPickleObject(target)) target.state = state;
  // PyTorch keeps the versions of modules as an attribute of a state dict; nothing needs them.
  else if (!(target instanceof Map)) refuse(path, 'to set the state of what is no plain object');
}

function persistentId({ path, stack, persistent }: Machine): void {
  const id = stack.pop();
  stack.pushContainer(persistent?.(id) ?? refuse(path, 'for a persistent id that is no storage of numbers'));
}

function refuse(path: string, what: string): never {
  throw new S3aError(
    'PICKLE',
    `${path} asks ${what}; s3a reads tensors only`,
    'Save the weights alone in Python: torch.save(model.state_dict(), "weights.pt"), or as safetensors.',
  );
}

function shortText({ path }: Machine): (value: PickleValue) => string {
  return value => {
    if (typeof value !== 'string' || value.length > MAX_NAME) throw badPickle(path, 'a name in it is no short text');
    return value;
  };
}

function isGlobal(value: PickleValue): value is PickleGlobal {
  return isKind(value, 'global');
}

/** Whether a value is one of those that carry this `kind`. */
export function isKind(value: PickleValue, kind: string): boolean {
  return typeof value === 'object' && value !== null && 'kind' in value && value.kind === kind;
}

/** A name as it is when it is one, else in quotes. */
function quote(name: string): string {
  return /^[\w.]+$/.test(name) ? name : JSON.stringify(name);
}
