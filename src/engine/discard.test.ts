/** Memory that is given back. */
import { expect, it } from 'vitest';
import { discard } from './discard.ts';

it('empties arrays, also two on the same memory, and leaves what threads share', () => {
  const memory = new ArrayBuffer(64);
  const arrays = [new Float32Array(memory, 0, 8), new Float32Array(memory, 32, 8), new Int32Array(4)];
  const shared = new Float32Array(new SharedArrayBuffer(16));
  discard([...arrays, shared]);
  expect(arrays.map(({ length }) => length)).toEqual([0, 0, 0]);
  expect(shared).toHaveLength(4);
  // Nothing is left of them to be given back a second time.
  expect(() => discard([shared])).not.toThrow();
});
