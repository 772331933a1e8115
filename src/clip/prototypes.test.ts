import { expect, test } from 'vitest';
import type { OnProgress } from './encoders.ts';
import { PART, type PrototypeStore, prototypes, TEMPLATES } from './prototypes.ts';

/** Two dimensions: the angle of an embedding is a function of the text, so the mean direction is known. */
async function embed(texts: readonly string[], onProgress?: OnProgress): Promise<Float32Array> {
  onProgress?.(texts.length, texts.length);
  return Float32Array.from(texts.flatMap(text => (text.startsWith('x') ? [1, 0] : [0, 1])));
}

test('prototypes are unit means over templates of unit embeddings', async () => {
  const asked: string[][] = [];
  const seen: number[] = [];
  const rows = await prototypes(
    ['a$&', 'b'],
    ['x {}', 'y {}', 'x {}.'],
    (texts, onProgress) => {
      asked.push([...texts]);
      return embed(texts, onProgress);
    },
    done => seen.push(done),
  );
  expect(asked).toEqual([['x a$&', 'x b', 'y a$&', 'y b', 'x a$&.', 'x b.']]);
  expect(seen).toEqual([6, 6]);
  const length = Math.hypot(2, 1);
  expect(rows).toBeAllclose([2 / length, 1 / length, 2 / length, 1 / length]);
  expect((await prototypes([], TEMPLATES, async () => new Float32Array(0))).length).toBe(0);
  await expect(prototypes(['a'], ['no name'], embed)).rejects.toThrow("'no name' has no {}");
  await expect(prototypes(['a'], [], embed)).rejects.toThrow('there is no template');
});

test('parts that a store has are not computed, and the rows are the same', async () => {
  const names = Array.from({ length: 2 * PART + 5 }, (_, i) => (i % 3 === 0 ? `x${i}` : `y${i}`));
  const kept = new Map<number, Float32Array>();
  const store: PrototypeStore = {
    read: async part => kept.get(part),
    write: async (part, rows) => {
      kept.set(part, rows);
    },
  };
  const whole = await prototypes(names, ['{}', 'x{}'], embed);
  expect(await prototypes(names, ['{}', 'x{}'], embed, undefined, store)).toEqual(whole);
  expect([...kept].map(([part, rows]) => [part, rows.length])).toEqual([
    [0, 2 * PART],
    [1, 2 * PART],
    [2, 10],
  ]);
  kept.delete(1);
  const asked: string[] = [];
  const seen: number[] = [];
  const again = await prototypes(
    names,
    ['{}', 'x{}'],
    texts => {
      asked.push(...texts);
      return embed(texts);
    },
    done => seen.push(done),
    store,
  );
  expect(again).toEqual(whole);
  const missing = names.slice(PART, 2 * PART);
  expect(asked).toEqual([...missing, ...missing.map(name => `x${name}`)]);
  expect(seen).toEqual([2 * PART, 4 * PART, 4 * PART + 10]);
});
