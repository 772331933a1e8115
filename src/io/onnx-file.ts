/** ONNX files: the tensors stored in them, read when they are asked for, and the nodes that use these. */
import { realpath } from 'node:fs/promises';
import { dirname, isAbsolute, join, sep } from 'node:path';
import { messageOf, S3aError } from '../errors.ts';
import { type ByteFile, openBytes } from './bytes.ts';
import { bfloat16ToFloat32, float16ToFloat32 } from './float16.ts';
import { type OnnxNode, readGraph } from './onnx-graph.ts';
import { dequantise, findQuantisation, type Quantisation } from './onnx-quantised.ts';
import { type OnnxArray, type OnnxTensor, rawStart, readElements } from './onnx-tensor.ts';
import { protobufReader } from './protobuf-reader.ts';
import type { TensorFile } from './tensor-file.ts';
import { isFloatDtype, readWidened } from './widen.ts';

export interface OnnxFile extends TensorFile {
  readonly nodes: readonly OnnxNode[];
  /** Names of the graph's outputs. */
  readonly outputs: readonly string[];
  /** The files beside it that hold elements. */
  readonly externalFiles: readonly string[];
  /** Whether a tensor holds whole numbers that `readFloat32` turns into the floats they stand for. */
  isQuantised(name: string): boolean;
  /** The elements in C order, as they are stored; float16 and bfloat16 as bits. Throws as `readFloat32`. */
  read(name: string): Promise<OnnxArray>;
}

// A model has one; some writers make one a tensor, and every one is an open file.
const MAX_EXTERNAL_FILES = 256;

/**
 * Opens an ONNX file and checks all of it but the numbers: sizes and types of its tensors, and where external ones lie. The
 * external files must be in the folder of the ONNX file.
 *
 * `readFloat32` also takes weights of 8 bits, as quantisation stores them, and gives (q − zero point) · scale.
 * @throws S3aError READ when it cannot be read, ONNX for what is wrong with its content
 */
export async function openOnnxFile(path: string): Promise<OnnxFile> {
  const bad = (what: string): S3aError =>
    new S3aError('ONNX', `${path} is not an ONNX model that can be read: ${what}`, 'Download or export it again.');
  const files: ByteFile[] = [];
  const close = async (): Promise<void> => {
    await Promise.all(files.splice(0).map(file => file.close()));
  };
  const open = async (at: string): Promise<ByteFile> => {
    const file = await openBytes(at);
    files.push(file);
    return file;
  };
  try {
    const own = await open(path);
    const { nodes, outputs, tensors } = await readGraph(protobufReader(own, bad), own.size, bad);
    const external = new Map<string, ByteFile>();
    const externalFiles: string[] = [];
    for (const { name, outside, byteLength } of tensors.values()) {
      if (!outside) continue;
      let file = external.get(outside.location);
      if (!file) {
        if (external.size >= MAX_EXTERNAL_FILES) throw bad(`elements in more than ${MAX_EXTERNAL_FILES} files`);
        const place = await externalPath(path, outside.location, bad);
        externalFiles.push(place);
        file = await open(place);
        external.set(outside.location, file);
      }
      if (outside.offset + byteLength > file.size) {
        throw bad(
          `tensor ${JSON.stringify(name.slice(0, 200))} at byte ${outside.offset} takes ${byteLength} bytes, but ${outside.location} has ${file.size}`,
        );
      }
    }
    const fileOf = ({ outside }: OnnxTensor): ByteFile => (outside && external.get(outside.location)) ?? own;
    return { ...contents(path, tensors, nodes, fileOf, bad), nodes, outputs, externalFiles, close };
  } catch (error) {
    await close();
    throw error;
  }
}

function contents(
  path: string,
  tensors: ReadonlyMap<string, OnnxTensor>,
  nodes: readonly OnnxNode[],
  fileOf: (tensor: OnnxTensor) => ByteFile,
  bad: (what: string) => S3aError,
): Omit<OnnxFile, 'nodes' | 'outputs' | 'externalFiles' | 'close'> {
  const quantised = findQuantisation(nodes, tensors);
  const tensorOf = (name: string): OnnxTensor => {
    const tensor = tensors.get(name);
    if (!tensor) throw new S3aError('ONNX', `${path} has no tensor named ${JSON.stringify(name)}`);
    return tensor;
  };
  const read = async (name: string): Promise<OnnxArray> => {
    const tensor = tensorOf(name);
    return readElements(tensor, fileOf(tensor), bad);
  };
  const readFloat32 = async (name: string): Promise<Float32Array<ArrayBuffer>> => {
    const tensor = tensorOf(name);
    const how = quantised.get(name);
    if (how) return dequantised(tensor, how);
    const { dtype, shape } = tensor;
    if (!isFloatDtype(dtype)) {
      throw new S3aError('ONNX', `${path}: tensor ${JSON.stringify(name)} is ${dtype}, not a float type`);
    }
    const start = rawStart(tensor);
    if (start !== undefined) return readWidened(fileOf(tensor), start, dtype, { shape });
    const elements = await read(name);
    if (dtype === 'F16') return float16ToFloat32(elements as Uint16Array);
    if (dtype === 'BF16') return bfloat16ToFloat32(elements as Uint16Array);
    return new Float32Array(elements as Float32Array);
  };
  const dequantised = async (tensor: OnnxTensor, how: Quantisation): Promise<Float32Array<ArrayBuffer>> => {
    const scale = await readFloat32(how.scale);
    const zeroPoint = how.zeroPoint === undefined ? undefined : await read(how.zeroPoint);
    return dequantise(tensor, fileOf(tensor), { axis: how.axis, scale, zeroPoint }, bad);
  };
  return {
    path,
    names: [...tensors.keys()],
    has: name => tensors.has(name),
    info: name => {
      const { dtype, shape } = tensorOf(name);
      return { dtype, shape: [...shape] };
    },
    isQuantised: name => quantised.has(name),
    read,
    readFloat32,
  };
}

/**
 * The path of an external file, which must not lead out of the model's folder. Links are followed as far as the folder in which
 * the model's own file really is, because the hub's cache keeps all files of a model as links to one folder.
 */
async function externalPath(model: string, location: string, bad: (what: string) => S3aError): Promise<string> {
  const shown = JSON.stringify(location.slice(0, 200));
  const parts = location.split(/[/\\]/);
  // Control characters too: they would be printed with the message.
  if (location === '' || /\p{Cc}/u.test(location) || isAbsolute(location) || /^[a-z]:|^[/\\]/i.test(location))
    throw bad(`its elements are in ${shown}, which is not a file in its folder`);
  if (parts.includes('..')) throw bad(`its elements are in ${shown}, outside its folder`);
  const path = join(dirname(model), ...parts);
  let target: string;
  let folders: string[];
  try {
    target = await realpath(path);
    folders = [await realpath(dirname(model)), dirname(await realpath(model))];
  } catch (error) {
    throw new S3aError(
      'READ',
      `cannot read ${path}, which holds weights of ${model}: ${messageOf(error)}`,
      'Put it beside the model.',
    );
  }
  if (!folders.some(folder => target.startsWith(folder + sep)))
    throw bad(`its elements are in ${shown}, a link out of its folder`);
  return target;
}
