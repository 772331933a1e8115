/** The order of outputs: gradients are computed as soon as they can be. */
import { expect, it } from 'vitest';
import { executionOrder } from './execution-order.ts';
import * as e from './index.ts';
import { mostFirst } from './output-order.ts';

/** Gradients of a chain of layers, small vectors before matrices as an optimizer has them. */
function chain(): e.Program {
  const layers = [0, 1, 2, 3].map(i => ({ w: e.state(`w${i}`, [8, 8]), b: e.state(`b${i}`, [8]) }));
  const y = layers.reduce((x, { w, b }) => e.tanh(e.linear(x, w, b)), e.input('x', 'float32', [5, 8]));
  const loss = e.mean(e.square(y));
  const vectors = e.gradient(
    loss,
    layers.map(({ b }) => b),
  );
  const matrices = e.gradient(
    loss,
    layers.map(({ w }) => w),
  );
  const named = [...vectors.map((g, i) => [`db${i}`, g]), ...matrices.map((g, i) => [`dw${i}`, g])];
  return e.program({ loss, ...(Object.fromEntries(named) as e.Tensors) });
}

/** How many nodes run before that of an output. */
const placeOf = (program: e.Program, name: string): number =>
  executionOrder(program).findIndex(({ outputs }) => outputs.includes(program.outputs.get(name)!));

it('gradients of a layer are computed before those of the layers below it', () => {
  const before = chain();
  const after = mostFirst(before);
  expect([...after.outputs.keys()].sort()).toEqual([...before.outputs.keys()].sort());
  for (const name of after.outputs.keys()) expect(after.outputs.get(name)).toBe(before.outputs.get(name));
  for (const kind of ['dw', 'db']) {
    for (const layer of [0, 1, 2]) {
      for (const above of ['dw', 'db']) {
        expect(placeOf(after, `${above}${layer + 1}`)).toBeLessThan(placeOf(after, `${kind}${layer}`));
      }
    }
  }
  expect(placeOf(before, 'db3')).toBeGreaterThan(placeOf(before, 'dw1'));
});
