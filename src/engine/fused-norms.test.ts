/** Norms that come out of the updates: which are found in a graph, and that they are those of the gradients. */
import { describe, expect, it } from 'vitest';
import { random } from '../random.ts';
import { cpuProgram } from './cpu-program.ts';
import * as e from './index.ts';

// One weight that is updated alone, and small ones that are updated as one.
const SHAPES: Record<string, readonly number[]> = { wide: [130, 257], tall: [17, 3], bias: [129], one: [1] };
const NAMES = Object.keys(SHAPES);
const scalarInput = (name: string): e.Tensor => e.input(name, 'float32', []);
const weights: e.Tensors = Object.fromEntries(NAMES.map(name => [name, e.state(name, SHAPES[name])]));
const gradients: e.Tensors = Object.fromEntries(
  NAMES.map(name => [name, e.mul(e.input(`g.${name}`, 'float32', SHAPES[name]), 2)]),
);
const updated = e.adamW(weights, gradients, scalarInput('rate'), scalarInput('step'));

const found = (outputs: Record<string, e.Tensor>): (readonly string[])[] =>
  cpuProgram(e.program(outputs)).norms.map(({ name, weights }) => [name, ...[...weights].sort()]);

describe('a norm is found', () => {
  it('over all gradients, which are then read by nothing but the updates', () => {
    const outputs = { ...updated, norm: e.gradientNorm(gradients) };
    expect(found(outputs)).toEqual([['norm', 'bias', 'one', 'tall', 'wide']]);
    expect(cpuProgram(e.program(outputs)).program.nodes.filter(({ operator }) => operator === 'ReduceSum')).toEqual([]);
  });

  it('over some of them', () => {
    const { wide, tall } = gradients;
    expect(found({ ...updated, some: e.gradientNorm({ wide, tall }) })).toEqual([['some', 'tall', 'wide']]);
  });
});

describe('a norm stays in the graph', () => {
  const clipped = e.clipGradients(gradients, 1);
  const now = e.greater(scalarInput('apply'), 0.5);
  const held = e.program(updated).inputs;
  it.each<[string, Record<string, e.Tensor>]>([
    [
      'that gradients are clipped by',
      { ...e.adamW(weights, clipped.gradients, scalarInput('rate'), scalarInput('step')), norm: clipped.norm },
    ],
    [
      'of updates on a condition',
      {
        ...Object.fromEntries(
          Object.entries(updated).map(([name, next]) => [name, e.where(now, next, held.get(name)!)]),
        ),
        norm: e.gradientNorm(gradients),
      },
    ],
    ['of something else', { ...updated, norm: e.gradientNorm({ w: e.mul(gradients.wide, 2) }) }],
    [
      'of gradients that no update reads',
      {
        ...e.adamW({ one: weights.one }, gradients, scalarInput('rate'), scalarInput('step')),
        norm: e.gradientNorm(gradients),
      },
    ],
    ['of every column', { ...updated, norms: e.sqrt(e.sum(e.square(gradients.tall), { axes: [0] })) }],
  ])('%s', (_, outputs) => {
    expect(found(outputs)).toEqual([]);
  });
});

it('is that of the gradients, in float64', async () => {
  const session = await e.compile(e.program({ ...updated, norm: e.gradientNorm(gradients) }), { threads: 1 });
  const draw = random(5, 'fused norms');
  const rates = { rate: Float32Array.of(0.1), step: Float32Array.of(1) };
  for (let run = 0; run < 2; run++) {
    const fed = NAMES.map(name =>
      Float32Array.from({ length: e.sizeOf(SHAPES[name]) }, () => draw.normal() * 10 ** run),
    );
    const { norm } = await session.run({
      ...rates,
      ...Object.fromEntries(NAMES.map((name, i) => [`g.${name}`, fed[i]])),
    });
    expect(norm).toHaveLength(1);
    expect(norm as Float32Array).toBeAllclose([Math.hypot(...fed.flatMap(g => [...g].map(x => 2 * x)))], {
      rtol: 2e-6,
    });
  }
  await session.dispose();
});
