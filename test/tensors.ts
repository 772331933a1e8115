/** All tensors of a safetensors file, as tests compare or change them. */
import type { TensorData } from '../src/engine/index.ts';
import { openSafetensors, type TensorToWrite } from '../src/io/safetensors.ts';

/** Values by name, each in the array of its type. */
export async function readTensors(path: string): Promise<Map<string, TensorData>> {
  const file = await openSafetensors(path);
  const tensors = new Map<string, TensorData>();
  for (const name of file.names) tensors.set(name, (await file.read(name)) as TensorData);
  await file.close();
  return tensors;
}

/** The same in float32, as they can be written again. */
export async function tensorsToWrite(path: string): Promise<Record<string, TensorToWrite>> {
  const file = await openSafetensors(path);
  const tensors: Record<string, TensorToWrite> = {};
  for (const name of file.names) {
    tensors[name] = { dtype: 'F32', shape: file.info(name).shape, data: await file.readFloat32(name) };
  }
  await file.close();
  return tensors;
}
