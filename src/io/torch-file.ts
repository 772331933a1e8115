/** PyTorch's .bin, .pt and .pth: state dicts, checkpoints with one inside and TorchScript archives, read without running anything. */
import { S3aError } from '../errors.ts';
import { openBytes } from './bytes.ts';
import { unpickle } from './pickle.ts';
import { refusePointer, type TensorFile } from './tensor-file.ts';
import { MAX_PICKLE, type TorchArchive } from './torch-archive.ts';
import { isLegacy, openLegacy } from './torch-legacy.ts';
import { namedTensors, withoutPrefixes } from './torch-names.ts';
import { findTorchGlobal, type TorchTensor, torchStorage, torchWidth } from './torch-pickle.ts';
import { isFloatDtype, readWidened } from './widen.ts';
import { openZip } from './zip.ts';

/** Elements that a tensor may have although its storage has fewer, because its views overlap. */
const MAX_REPEATED = 1 << 24;

/**
 * Opens a file of torch.save or torch.jit.save. Of a training checkpoint it offers the state dict (under `state_dict`,
 * `model_state_dict`, `model`, …), of a TorchScript archive its parameters and buffers; `module.` before every name is left out unless
 * `keepNames` is set.
 *
 * Throws S3aError READ when the file cannot be read, ZIP and PICKLE for what is wrong with its parts or asks for anything but tensors,
 * TORCH for tensors that do not lie in their storages and for a file that holds no state dict.
 */
export async function openTorchFile(path: string, { keepNames = false } = {}): Promise<TensorFile> {
  const archive = await openArchive(path);
  try {
    const named = namedTensors(archive.root, path);
    const tensors = keepNames ? named : withoutPrefixes(named);
    for (const [name, tensor] of tensors) checkTensor(archive, path, name, tensor);
    return offer(archive, path, tensors);
  } catch (error) {
    await archive.file.close();
    throw error;
  }
}

async function openArchive(path: string): Promise<TorchArchive> {
  const head = await readHead(path);
  const text = Buffer.from(head).toString('latin1');
  if (text.startsWith('PK\x03\x04')) return openZipArchive(path);
  if (isLegacy(head)) return openLegacy(path);
  refusePointer(path, head);
  throw new S3aError('TORCH', `${path} is no PyTorch file`, 'Its first bytes are those of no format of torch.save.');
}

async function readHead(path: string): Promise<Uint8Array> {
  const file = await openBytes(path);
  try {
    return await file.read(0, Math.min(file.size, 64));
  } finally {
    await file.close();
  }
}

async function openZipArchive(path: string): Promise<TorchArchive> {
  const zip = await openZip(path);
  try {
    const pickles = [...zip.entries.keys()].filter(name => /^[^/]+\/data\.pkl$/.test(name));
    if (pickles.length !== 1) {
      throw new S3aError(
        'TORCH',
        `${path} is no PyTorch file: it has ${pickles.length} entries data.pkl instead of one`,
      );
    }
    const folder = pickles[0].slice(0, -'data.pkl'.length);
    if (zip.entries.has(`${folder}byteorder`)) {
      const order = Buffer.from(await zip.read(`${folder}byteorder`, 100)).toString('latin1');
      if (order !== 'little') {
        throw new S3aError(
          'TORCH',
          `${path} has the byte order ${JSON.stringify(order)}, not "little"`,
          'Save it on another machine.',
        );
      }
    }
    const { value: root } = unpickle(await zip.read(pickles[0], MAX_PICKLE), {
      path,
      find: findTorchGlobal(zip.entries.has(`${folder}constants.pkl`)),
      persistent: torchStorage,
    });
    const nameOf = (key: string): string => `${folder}data/${key}`;
    return {
      root,
      file: { ...zip.bytes, close: zip.close },
      size: key => {
        const entry = zip.entries.get(nameOf(key));
        return entry?.stored ? entry.size : undefined;
      },
      start: key => zip.start(nameOf(key)),
    };
  } catch (error) {
    await zip.close();
    throw error;
  }
}

function offer(archive: TorchArchive, path: string, tensors: Map<string, TorchTensor>): TensorFile {
  const tensorOf = (name: string): TorchTensor => {
    const tensor = tensors.get(name);
    if (!tensor) throw new S3aError('TORCH', `${path} has no tensor named ${JSON.stringify(name)}`);
    return tensor;
  };
  return {
    path,
    names: [...tensors.keys()],
    has: name => tensors.has(name),
    info: name => {
      const { dtype, shape } = tensorOf(name);
      return { dtype, shape: [...shape] };
    },
    readFloat32: async name => {
      const { dtype, shape, strides, offset, storage } = tensorOf(name);
      if (!isFloatDtype(dtype)) {
        throw new S3aError('TORCH', `${path}: tensor ${JSON.stringify(name)} is ${dtype}, not a float type`);
      }
      const start = (await archive.start(storage.key)) + offset * torchWidth(dtype);
      return readWidened(archive.file, start, dtype, { shape, strides });
    },
    close: archive.file.close,
  };
}

/** Compares what the pickle says about a tensor with the bytes that its storage has in the file. */
function checkTensor(archive: TorchArchive, path: string, name: string, tensor: TorchTensor): void {
  const { dtype, shape, strides, offset, storage } = tensor;
  const label = `tensor ${JSON.stringify(name)}`;
  const bad = (what: string): S3aError =>
    new S3aError('TORCH', `${path}: ${label} ${what}`, 'Download or export the file again.');
  const bytes = archive.size(storage.key);
  if (bytes === undefined)
    throw bad(`lies in the storage ${JSON.stringify(storage.key)}, which is not stored in the file`);
  if (storage.numel * torchWidth(storage.dtype) !== bytes) {
    throw bad(
      `lies in a storage of ${storage.numel} elements, ${storage.dtype ?? 'bytes'}, but the file has ${bytes} bytes of it`,
    );
  }
  const isCount = (n: number): boolean => Number.isSafeInteger(n) && n >= 0;
  if (![offset, ...shape, ...strides].every(isCount) || shape.length !== strides.length) {
    throw bad(`has the impossible shape [${shape}] with strides [${strides}] from ${offset}`);
  }
  const count = shape.reduce((product, size) => product * size, 1);
  const elements = bytes / torchWidth(dtype);
  const last = shape.reduce((at, size, i) => at + (size - 1) * strides[i], offset);
  if (count > 0 && !(last < Math.floor(elements))) {
    throw bad(`of shape [${shape}] reaches element ${last} of the ${Math.floor(elements)} in its storage`);
  }
  if (!(count <= Math.max(elements, MAX_REPEATED))) throw bad(`repeats ${elements} elements to ${count}`);
}
