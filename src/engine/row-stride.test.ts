/** Products whose rows lie badly for the cache are made wider: where, and that nothing changes but the time. */
import { describe, expect, it } from 'vitest';
import { random } from '../random.ts';
import { copyCommon } from './copy-common.ts';
import { cpuProgram } from './cpu-program.ts';
import * as e from './index.ts';

const [WIDTH, HIDDEN] = [24, 1024];
const scalarInput = (name: string): e.Tensor => e.input(name, 'float32', []);
const SHAPES = { up: [HIDDEN, WIDTH], bias: [HIDDEN], down: [WIDTH, HIDDEN], end: [WIDTH] };

function weights(prefix = ''): e.Tensors {
  return Object.fromEntries(
    Object.entries(SHAPES).map(([name, shape]) => [prefix + name, e.state(prefix + name, shape)]),
  );
}

type Activation = (x: e.Tensor) => e.Tensor;

/** The MLP of a transformer, [2, 3, WIDTH] to the same. */
function mlp(x: e.Tensor, w: e.Tensors, prefix = '', activation: Activation = e.quickGelu): e.Tensor {
  const hidden = activation(e.linear(x, w[`${prefix}up`], w[`${prefix}bias`]));
  return e.linear(hidden, w[`${prefix}down`], w[`${prefix}end`]);
}

const pixels = e.input('x', 'float32', [2, 3, WIDTH]);

/** The widths that matrices of a program have beside those that were traced. */
function wide(outputs: Record<string, e.Tensor>, lean = false): Record<string, readonly number[]> {
  return Object.fromEntries(cpuProgram(e.program(outputs), lean).shapes);
}

describe('the hidden axis of an MLP', () => {
  it.each<[string, Activation]>([
    ['QuickGelu', e.quickGelu],
    ['Gelu', x => e.gelu(x)],
    ['ReLU', e.relu],
  ])('is wider with %s', (_, activation) => {
    expect(wide({ y: mlp(pixels, weights(), '', activation) })).toEqual({
      up: [HIDDEN + 16, WIDTH],
      bias: [HIDDEN + 16],
      down: [WIDTH, HIDDEN + 16],
    });
  });

  it('is wider in all that an update changes', () => {
    const shapes = wide(training());
    const roles = ['', 'adamw.m.', 'adamw.v.', 'teacher.'];
    expect(Object.keys(shapes).sort()).toEqual(
      roles.flatMap(role => ['up', 'bias', 'down'].map(name => role + name)).sort(),
    );
    expect(shapes['adamw.m.down']).toEqual([WIDTH, HIDDEN + 16]);
  });

  const w = weights();
  const hidden = e.quickGelu(e.linear(pixels, w.up, w.bias));
  const out = (h: e.Tensor): e.Tensor => e.linear(h, w.down, w.end);
  it.each<[string, Record<string, e.Tensor>]>([
    ['rows lie well', { y: e.linear(e.linear(pixels, e.state('a', [1008, WIDTH])), e.state('b', [WIDTH, 1008])) }],
    ['it is a result', { y: out(hidden), hidden }],
    ['it comes from a feed', { y: e.linear(e.relu(e.input('fed', 'float32', [4, HIDDEN])), w.down) }],
    ['a state that is a result has it', { y: out(hidden), up: w.up, seen: w.up }],
    ['what is added is not zero in the end', { y: out(e.add(hidden, 1)), other: e.sum(e.exp(hidden)) }],
    ['it is averaged over', { y: out(hidden), mean: e.mean(hidden) }],
    ['it is the axis of a softmax', { y: out(e.softmax(hidden)) }],
  ])('stays as it is where %s', (_, outputs) => {
    expect(wide(outputs)).toEqual({});
  });

  it('is wider where what is added is not zero but meets zeros', () => {
    expect(Object.keys(wide({ y: out(e.exp(hidden)) }))).toEqual(['up', 'bias', 'down']);
  });
});

/** A student that learns from a teacher which follows it. */
function training(): Record<string, e.Tensor> {
  const [student, teacher] = [weights(), weights('teacher.')];
  const loss = e.mean(e.square(e.sub(mlp(e.mul(pixels, 0.5), student), mlp(pixels, teacher, 'teacher.'))));
  const derived = e.gradient(loss, Object.values(student));
  const gradients = Object.fromEntries(Object.keys(student).map((name, i) => [name, derived[i]]));
  const updated = e.adamW(student, gradients, scalarInput('rate'), scalarInput('step'));
  const learned = Object.fromEntries(Object.entries(updated).map(([name, next]) => [`teacher.${name}`, next]));
  return {
    ...{ loss, norm: e.gradientNorm(gradients), ...updated },
    ...e.ema(
      teacher,
      Object.fromEntries(Object.keys(teacher).map(name => [name, learned[name]])),
      scalarInput('decay'),
    ),
  };
}

async function train(lean: boolean): Promise<Record<string, number[]>> {
  const program = e.program(training());
  const session = await e.compile(program, { threads: 2, lean });
  const draw = random(1, 'row stride');
  const noise = (length: number): Float32Array => Float32Array.from({ length }, () => 0.2 * draw.normal());
  const start = [...program.inputs].filter(([name]) => /^(teacher\.)?(up|bias|down|end)$/.test(name));
  await session.setState(Object.fromEntries(start.map(([name, { shape }]) => [name, noise(e.sizeOf(shape))])));
  const results: Record<string, e.TensorData> = {};
  for (let step = 1; step <= 4; step++) {
    const scalars = { rate: Float32Array.of(0.01), step: Float32Array.of(step), decay: Float32Array.of(0.9) };
    const { loss, norm } = await session.run({ x: noise(6 * WIDTH), ...scalars });
    Object.assign(results, { [`loss ${step}`]: loss.slice(), [`norm ${step}`]: norm.slice() });
  }
  Object.assign(results, await session.getState());
  await session.dispose();
  return Object.fromEntries(Object.entries(results).map(([name, data]) => [name, Array.from(data as Float32Array)]));
}

it('a training in wide matrices gives the bits of a narrow one', async () => {
  // A lean one has its updates in the graph, which divide by what is added.
  expect(wide(training(), true)).toEqual({});
  const [broad, narrow] = [await train(false), await train(true)];
  expect(broad.up).toHaveLength(HIDDEN * WIDTH);
  expect(Object.keys(broad).sort()).toEqual(Object.keys(narrow).sort());
  for (const name of Object.keys(narrow)) {
    // ONNX Runtime sums squares in parts whose number depends on the length.
    if (name.startsWith('norm'))
      expect(Float32Array.from(broad[name]), name).toBeAllclose(narrow[name], { rtol: 1e-6 });
    else expect(broad[name], name).toEqual(narrow[name]);
  }
});

it('constants are wider too, with the same results', async () => {
  const draw = random(2, 'row stride');
  const values = Object.fromEntries(
    Object.entries(SHAPES).map(([name, shape]) => [
      name,
      Float32Array.from({ length: e.sizeOf(shape) }, () => draw.normal()),
    ]),
  );
  const x = Float32Array.from({ length: 6 * WIDTH }, () => draw.normal());
  const results: Float32Array[] = [];
  for (const more of [false, true]) {
    const w = weights();
    const hidden = e.quickGelu(e.linear(pixels, w.up, w.bias));
    const y = e.linear(hidden, w.down, w.end);
    // A result of the hidden axis keeps it as it is.
    const session = await e.compile(e.program({ y, ...(more ? { hidden } : {}) }), { threads: 1, frozen: true });
    await session.setState(values);
    results.push((await session.run({ x })).y as Float32Array);
    await session.dispose();
  }
  expect(results[0]).toEqual(results[1]);
});

it('copies what two arrays have in common', () => {
  const narrow = Float32Array.from({ length: 12 }, (_, i) => i + 1);
  const broad = new Float32Array(2 * 4 * 5);
  copyCommon(narrow, [2, 2, 3], broad, [2, 4, 5]);
  expect([...broad.subarray(0, 10)]).toEqual([1, 2, 3, 0, 0, 4, 5, 6, 0, 0]);
  expect([...broad.subarray(20, 30)]).toEqual([7, 8, 9, 0, 0, 10, 11, 12, 0, 0]);
  const back = new Float32Array(12);
  copyCommon(broad, [2, 4, 5], back, [2, 2, 3]);
  expect(back).toEqual(narrow);
  const vector = new Float32Array(4);
  copyCommon(Float32Array.of(1, 2), [2], vector, [4]);
  expect([...vector]).toEqual([1, 2, 0, 0]);
});
