/** What PyTorch's pickles may name: tensors on storages, and the containers around them. */
import { isKind, type PickleGlobal, type PickleObject, type PickleValue } from './pickle.ts';

/** A run of numbers in the file, by its key. */
export interface TorchStorage {
  readonly kind: 'storage';
  /** Undefined for a storage that counts bytes. */
  readonly dtype: string | undefined;
  readonly key: string;
  /** Elements as the pickle says, not yet compared with the file. */
  readonly numel: number;
}

/** A view of a storage, as the pickle says; nothing of it is checked but that these are numbers. */
export interface TorchTensor {
  readonly kind: 'tensor';
  readonly storage: TorchStorage;
  readonly dtype: string;
  /** Offset and strides in elements. */
  readonly offset: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
}

/** PyTorch's names of types, with those of safetensors. */
const DTYPES: Readonly<Record<string, string>> = {
  float64: 'F64',
  float32: 'F32',
  float16: 'F16',
  bfloat16: 'BF16',
  float8_e4m3fn: 'F8_E4M3',
  float8_e5m2: 'F8_E5M2',
  int64: 'I64',
  int32: 'I32',
  int16: 'I16',
  int8: 'I8',
  uint64: 'U64',
  uint32: 'U32',
  uint16: 'U16',
  uint8: 'U8',
  bool: 'BOOL',
  complex64: 'C64',
  complex128: 'C128',
};

const STORAGES: Readonly<Record<string, string>> = {
  DoubleStorage: 'F64',
  FloatStorage: 'F32',
  HalfStorage: 'F16',
  BFloat16Storage: 'BF16',
  LongStorage: 'I64',
  IntStorage: 'I32',
  ShortStorage: 'I16',
  CharStorage: 'I8',
  ByteStorage: 'U8',
  BoolStorage: 'BOOL',
  ComplexFloatStorage: 'C64',
  ComplexDoubleStorage: 'C128',
};

/** Bytes an element. */
const WIDTHS: Readonly<Record<string, number>> = {
  ...{ C128: 16, C64: 8, F64: 8, I64: 8, U64: 8, F32: 4, I32: 4, U32: 4, F16: 2, BF16: 2, I16: 2, U16: 2 },
  ...{ F8_E4M3: 1, F8_E5M2: 1, I8: 1, U8: 1, BOOL: 1 },
};

const MAX_KEY = 100;

/** Bytes that an element takes; storages without a type count bytes. */
export function torchWidth(dtype: string | undefined): number {
  return dtype === undefined ? 1 : WIDTHS[dtype];
}

/** Whether a value of a pickle is a tensor. */
export function isTorchTensor(value: PickleValue): value is TorchTensor {
  return isKind(value, 'tensor');
}

interface TypeGlobal extends PickleGlobal {
  readonly dtype?: string;
  readonly isStorage?: boolean;
}

/** What stands where a value is allowed but of no use here, such as a device. */
const NOTHING = Object.freeze({ kind: 'nothing' });
const nothing = (): object => NOTHING;
/** Calls that give back what they got: nothing is copied, since a pickle may repeat a call without end. */
const first = ([value]: readonly PickleValue[]): object | undefined =>
  typeof value === 'object' && value !== null ? value : undefined;
const tensorFirst = ([value]: readonly PickleValue[]): object | undefined => (isTorchTensor(value) ? value : undefined);

const CALLS: Readonly<Record<string, PickleGlobal['call']>> = {
  'collections.OrderedDict': args => (args.length === 0 ? new Map() : undefined),
  'collections.Counter': first,
  'torch.Size': first,
  'torch.device': nothing,
  'torch._utils._rebuild_tensor': args => rebuildTensor(args),
  'torch._utils._rebuild_tensor_v2': args => rebuildTensor(args, args[6]),
  'torch._utils._rebuild_tensor_v3': args => rebuildTensor(args, args[7], args[6]),
  'torch._utils._rebuild_parameter': tensorFirst,
  'torch._utils._rebuild_parameter_with_state': tensorFirst,
  'torch._tensor._rebuild_from_type_v2': args => rebuildFromType(args),
  // Lists with a type, as TorchScript writes them.
  'torch.jit._pickle.build_intlist': first,
  'torch.jit._pickle.build_doublelist': first,
  'torch.jit._pickle.build_boollist': first,
  'torch.jit._pickle.build_tensorlist': first,
  'torch.jit._pickle.restore_type_tag': first,
  // Bytes and sets of protocol 2; no weights are among them.
  '_codecs.encode': nothing,
  '__builtin__.set': nothing,
  '__builtin__.bytearray': nothing,
  '__builtin__.complex': nothing,
  'builtins.set': nothing,
  'builtins.bytearray': nothing,
  'builtins.complex': nothing,
};

/** Classes that stand beside tensors as values. */
const CLASSES = new Set(['torch.Tensor', 'torch.nn.parameter.Parameter']);

const TORCH = 'torch.';
const SCRIPT = '__torch__.';

/** The functions and classes that a PyTorch file may name; with `script` also TorchScript's classes, which become plain objects. */
export function findTorchGlobal(script: boolean): (name: string) => PickleGlobal | undefined {
  return name => {
    if (script && name.startsWith(SCRIPT)) {
      const create = (): PickleObject => ({ kind: 'object', className: name, state: null });
      return { kind: 'global', name, create };
    }
    if (Object.hasOwn(CALLS, name)) return { kind: 'global', name, call: CALLS[name] };
    if (CLASSES.has(name)) return { kind: 'global', name };
    if (name === 'torch.storage.UntypedStorage' || name === 'torch.UntypedStorage') return typeGlobal(name, true);
    const own = name.startsWith(TORCH) ? name.slice(TORCH.length) : '';
    if (Object.hasOwn(DTYPES, own)) return typeGlobal(name, false, DTYPES[own]);
    if (Object.hasOwn(STORAGES, own)) return typeGlobal(name, true, STORAGES[own]);
    return undefined;
  };
}

function typeGlobal(name: string, isStorage: boolean, dtype?: string): TypeGlobal {
  return { kind: 'global', name, isStorage, dtype };
}

/**
 * The storage of a persistent id ('storage', class, key, location, elements), and for files from before PyTorch 1.6 a last null (else
 * the storage would be a part of another).
 */
export function torchStorage(id: PickleValue): TorchStorage | undefined {
  if (!Array.isArray(id) || id.length < 5 || (id[5] ?? null) !== null) return undefined;
  const [tag, type, key, , numel] = id as PickleValue[];
  if (tag !== 'storage' || !isType(type) || !type.isStorage) return undefined;
  if (typeof key !== 'string' || key.length > MAX_KEY) return undefined;
  if (typeof numel !== 'number' || !Number.isSafeInteger(numel) || numel < 0) return undefined;
  return { kind: 'storage', dtype: type.dtype, key, numel };
}

/** (storage, offset, shape, strides, …) as a tensor; undefined when it is anything else, also a conjugated or negated view. */
function rebuildTensor(
  args: readonly PickleValue[],
  metadata?: PickleValue,
  type?: PickleValue,
): TorchTensor | undefined {
  const [storage, offset, shape, strides] = args;
  if (!isKind(storage, 'storage') || typeof offset !== 'number' || !isNumbers(shape) || !isNumbers(strides))
    return undefined;
  if (metadata instanceof Map && metadata.size > 0) return undefined;
  const dtype = isType(type) ? type.dtype : (storage as TorchStorage).dtype;
  if (dtype === undefined) return undefined;
  return { kind: 'tensor', storage: storage as TorchStorage, dtype, offset, shape, strides };
}

/** (function, class, its arguments, state): a tensor with attributes, which are left out. */
function rebuildFromType([callee, type, args]: readonly PickleValue[]): TorchTensor | undefined {
  if (!isKind(callee, 'global') || !isKind(type, 'global') || !Array.isArray(args)) return undefined;
  const { name, call } = callee as PickleGlobal;
  const value = name.startsWith('torch._utils._rebuild_') ? call?.(args) : undefined;
  return isTorchTensor(value) ? value : undefined;
}

function isNumbers(value: PickleValue): value is number[] {
  return Array.isArray(value) && value.length <= 64 && value.every(item => typeof item === 'number');
}

function isType(value: PickleValue): value is TypeGlobal {
  return isKind(value, 'global') && 'isStorage' in (value as object);
}
