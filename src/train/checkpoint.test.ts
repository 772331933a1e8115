/** Saved trainings: complete or not there, and never a damaged one taken for whole. */
import { mkdir, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { loadTraining, resumeTraining, saveTraining, type TrainingState } from './checkpoint.ts';

const SHAPES = { 'student.w': [2, 2], 'teacher.w': [2, 2] };

function stateAt(step: number): TrainingState {
  return {
    key: 'key',
    step,
    epoch: 1,
    stepInEpoch: 2,
    metricsBytes: 30,
    structural: Int32Array.of(4, -1, step),
    weights: { 'student.w': Float32Array.of(1, 2, 3, step), 'teacher.w': Float32Array.of(5, 6, Math.PI, 1e-40) },
  };
}

let folder: string;
beforeEach(async () => {
  folder = join(await mkdtemp(join(tmpdir(), 's3a-checkpoint-')), 'checkpoints');
});
afterEach(() => rm(join(folder, '..'), { recursive: true }));

/** Two checkpoints side by side, as a kill between the new one and the removal of the old one leaves them. */
async function saveTwo(): Promise<void> {
  await saveTraining(folder, stateAt(7), SHAPES);
  const older = await Promise.all(
    (await readdir(folder)).map(async name => [name, await readFile(join(folder, name))] as const),
  );
  await saveTraining(folder, stateAt(12), SHAPES);
  for (const [name, bytes] of older) await writeFile(join(folder, name), bytes);
}

test('what is saved is read back bit by bit, and the one before is removed', async () => {
  expect(await loadTraining(folder, SHAPES)).toEqual({ state: undefined, damaged: [] });
  for (const step of [7, 12]) await saveTraining(folder, stateAt(step), SHAPES);
  expect((await readdir(folder)).sort()).toEqual(['step-00000012.json', 'step-00000012.safetensors']);
  expect(await loadTraining(folder, SHAPES)).toEqual({ state: stateAt(12), damaged: [] });
});

test('a pair without its description counts for nothing, nor does a torn write', async () => {
  await saveTwo();
  await rm(join(folder, 'step-00000012.json'));
  await writeFile(join(folder, '.tmp-1-abc'), 'half of it');
  expect(await loadTraining(folder, SHAPES)).toEqual({ state: stateAt(7), damaged: [] });
  expect(await readdir(folder)).not.toContain('.tmp-1-abc');
});

test.each([
  ['is cut short', (path: string) => truncate(`${path}.safetensors`, 200), /cut short|take \d+ bytes|too few/],
  ['has another byte', flipByte, /step-00000012\.safetensors is not the file that was written/],
  ['is missing', (path: string) => rm(`${path}.safetensors`), /cannot read/],
  ['has a torn description', (path: string) => truncate(`${path}.json`, 20), /not valid JSON/],
  ['has an odd description', (path: string) => writeFile(`${path}.json`, '{"format":1}'), /its description: key/],
])('a checkpoint that %s is named, and the one before is taken', async (_, damage, reason) => {
  await saveTwo();
  await damage(join(folder, 'step-00000012'));
  const { state, damaged } = await loadTraining(folder, SHAPES);
  expect(state).toEqual(stateAt(7));
  expect(damaged).toHaveLength(1);
  expect(damaged[0]).toMatch(/^the checkpoint .*step-00000012\.json is damaged \(/);
  expect(damaged[0]).toMatch(reason);
  await rm(join(folder, 'step-00000007.json'));
  await expect(loadTraining(folder, SHAPES)).rejects.toMatchObject({ code: 'CHECKPOINT', message: damaged[0] });
});

async function flipByte(path: string): Promise<void> {
  const bytes = await readFile(`${path}.safetensors`);
  bytes[bytes.length - 3] ^= 1;
  await writeFile(`${path}.safetensors`, bytes);
}

test('a checkpoint of a model with other shapes is refused', async () => {
  await saveTraining(folder, stateAt(1), SHAPES);
  await expect(loadTraining(folder, { ...SHAPES, 'student.w': [4] })).rejects.toThrow('student.w has the shape [2,2]');
  await expect(loadTraining(folder, { ...SHAPES, other: [1] })).rejects.toThrow('no tensor named "other"');
});

test('a checkpoint of another training is called that, and not damaged, whatever its shapes', async () => {
  await saveTraining(folder, stateAt(1), SHAPES);
  const warned: string[] = [];
  const resumed = (shapes: Record<string, number[]>, key: string) =>
    resumeTraining(folder, shapes, key, message => warned.push(message));
  for (const shapes of [SHAPES, { ...SHAPES, other: [1] }]) {
    await expect(resumed(shapes, 'another key')).rejects.toMatchObject({
      code: 'CHECKPOINT',
      message: `${folder} belongs to a training with other images, settings or labels`,
    });
  }
  expect(await resumed(SHAPES, 'key')).toEqual(stateAt(1));
  expect(warned).toEqual([]);
});

test('a disk that cannot be written leaves the checkpoint before', async () => {
  await saveTraining(folder, stateAt(7), SHAPES);
  // A folder of that name stands in the way of the rename.
  await mkdir(join(folder, 'step-00000012.json', 'x'), { recursive: true });
  await expect(saveTraining(folder, stateAt(12), SHAPES)).rejects.toMatchObject({ code: 'WRITE' });
  await rm(join(folder, 'step-00000012.json'), { recursive: true });
  expect((await loadTraining(folder, SHAPES)).state).toEqual(stateAt(7));
});
