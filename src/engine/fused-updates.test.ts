/** Updates that a kernel makes after the run: which are found in a graph, and that their bits are those of the graph's nodes. */
import { describe, expect, it } from 'vitest';
import { random } from '../random.ts';
import { cpuProgram } from './cpu-program.ts';
import { byMemory } from './fused-states.ts';
import * as e from './index.ts';

const SHAPES = { wide: [130, 129], tall: [17, 3], bias: [129], norm: [7], one: [1] };
type Name = keyof typeof SHAPES;
const NAMES = Object.keys(SHAPES) as Name[];
const scalarInput = (name: string): e.Tensor => e.input(name, 'float32', []);
const states = (prefix: string): e.Tensors =>
  Object.fromEntries(NAMES.map(name => [prefix + name, e.state(prefix + name, SHAPES[name])]));

interface Options {
  clip?: number;
  average?: boolean;
  /** Only where `apply` is 1. */
  gated?: boolean;
}

/** Weights moved by gradients of all sizes, with decay, layer rates and an average. */
function training({ clip, average = true, gated = false }: Options): Record<string, e.Tensor> {
  const [weights, averages] = [states(''), states('average.')];
  const raw = Object.fromEntries(
    NAMES.map(name => [name, e.mul(e.input(`g.${name}`, 'float32', SHAPES[name]), weights[name])]),
  );
  const gradients = clip === undefined ? raw : e.clipGradients(raw, clip).gradients;
  const updated = e.adamW(weights, gradients, scalarInput('rate'), scalarInput('step'), {
    scale: name => (name === 'tall' || name === 'norm' ? 0.65 : 1),
  });
  const learned = Object.fromEntries(NAMES.map(name => [`average.${name}`, updated[name]]));
  const all = { ...updated, ...(average ? e.ema(averages, learned, scalarInput('decay')) : {}) };
  if (!gated) return { loss: e.sum(e.square(weights.wide)), ...all };
  const now = e.greater(scalarInput('apply'), 0.5);
  const held = e.program(all).inputs;
  return Object.fromEntries(Object.entries(all).map(([name, next]) => [name, e.where(now, next, held.get(name)!)]));
}

const found = (outputs: Record<string, e.Tensor>): (string | undefined)[][] =>
  cpuProgram(e.program(outputs))
    .updates.map(({ weight, first, second, average }) => [weight, first, second, average])
    .sort();

describe('an update is found', () => {
  const all = NAMES.map(name => [name, `adamw.m.${name}`, `adamw.v.${name}`, `average.${name}`]).sort();

  it.each([
    ['as adamW and ema trace it, also of small weights that are updated as one', {}],
    ['with clipped gradients', { clip: 1 }],
    ['that happens on a condition', { gated: true }],
  ])('%s', (_, options) => {
    const traced = e.program(training(options));
    expect(found(training(options))).toEqual(all);
    const { program } = cpuProgram(traced);
    expect([...program.outputs.keys()].filter(name => traced.inputs.has(name))).toEqual([]);
    const roots = program.nodes.filter(
      ({ operator, outputs }) => operator === 'Sqrt' && e.sizeOf(outputs[0].shape) > 1,
    );
    expect(roots).toEqual([]);
  });

  it('without an average where none follows the weight', () => {
    expect(found(training({ average: false }))).toEqual(all.map(names => [...names.slice(0, 3), undefined]));
    const average = e.state('average', [3]);
    const ofOther = e.ema({ average }, { average: e.input('other', 'float32', [3]) }, scalarInput('decay'));
    expect(found({ ...oneWeight(), ...ofOther })).toEqual([['w', 'adamw.m.w', 'adamw.v.w', undefined]]);
  });
});

/** One weight, changed by what a test changes of the update. */
function oneWeight(change: (outputs: e.Tensors) => e.Tensors = outputs => outputs): e.Tensors {
  const w = e.state('w', [3]);
  return change(e.adamW({ w }, { w: e.input('g', 'float32', [3]) }, scalarInput('rate'), scalarInput('step')));
}

describe('what is not that update stays in the graph', () => {
  const w = (outputs: e.Tensors): e.Tensor => e.program(outputs).inputs.get('w')!;
  it.each<[string, e.Tensors]>([
    ['another rule', { w: e.sub(e.state('w', [3]), e.input('g', 'float32', [3])) }],
    ['a moment that is not kept', oneWeight(({ 'adamw.m.w': _, ...rest }) => rest)],
    ['a weight that is changed afterwards', oneWeight(all => ({ ...all, w: e.mul(all.w, 2) }))],
    [
      'moments that change places',
      oneWeight(all => ({ ...all, 'adamw.m.w': all['adamw.v.w'], 'adamw.v.w': all['adamw.m.w'] })),
    ],
    [
      'a weight that holds on a condition which its moments do not know',
      oneWeight(all => ({ ...all, w: e.where(e.greater(scalarInput('apply'), 0), all.w, w(all)) })),
    ],
    [
      'a weight that falls back to another value than its last',
      oneWeight(all => {
        const now = e.greater(scalarInput('apply'), 0);
        const held = e.program(all).inputs;
        const kept = Object.entries(all).map(([name, next]) => [name, e.where(now, next, held.get(name)!)] as const);
        return { ...Object.fromEntries(kept), w: e.where(now, all.w, 0) };
      }),
    ],
  ])('%s', (_, outputs) => {
    expect(found(outputs)).toEqual([]);
  });
});

async function endOf(options: Options, lean: boolean): Promise<Record<string, number[]>> {
  const program = e.program(training(options));
  const session = await e.compile(program, { threads: 1, lean });
  const draw = random(3, 'fused updates');
  const noise = (size: number, scale: number): Float32Array =>
    Float32Array.from({ length: size }, () => scale * draw.normal() * 10 ** draw.uniform(-6, 2));
  const start = NAMES.map(name => [name, noise(e.sizeOf(SHAPES[name]), 0.1)] as const);
  const averages = NAMES.map(name => [`average.${name}`, noise(e.sizeOf(SHAPES[name]), 0.1)] as const);
  await session.setState(Object.fromEntries([...start, ...averages].filter(([name]) => program.inputs.has(name))));
  for (let step = 1; step <= 5; step++) {
    const feeds: Record<string, e.TensorData> = {
      ...Object.fromEntries(NAMES.map(name => [`g.${name}`, noise(e.sizeOf(SHAPES[name]), 1)])),
      rate: Float32Array.of(0.01 / step),
      step: Float32Array.of(step),
      decay: Float32Array.of(0.9),
      apply: Float32Array.of(step === 3 ? 0 : 1),
    };
    await session.run(Object.fromEntries(Object.entries(feeds).filter(([name]) => program.inputs.has(name))));
  }
  const values = await session.getState();
  await session.dispose();
  return Object.fromEntries(Object.entries(values).map(([name, data]) => [name, Array.from(data as Float32Array)]));
}

describe('the bits of all states', () => {
  it.each<[string, Options]>([
    ['with decay, layer rates and averages', {}],
    ['clipped, without averages', { clip: 0.5, average: false }],
    ['on a condition', { gated: true }],
  ])('are those that ONNX Runtime computes: %s', async (_, options) => {
    const fused = await endOf(options, false);
    expect(Object.keys(fused)).toHaveLength(options.average === false ? 15 : 20);
    expect(fused).toEqual(await endOf(options, true));
    expect(fused.wide.every(Number.isFinite)).toBe(true);
  });
});

describe('memory', () => {
  it('holds several updates, and one alone that is larger than all others', () => {
    const plan = (size: number) => ({ weight: 'w', first: 'm', second: 'v', size, gradient: 'g', scalars: {} });
    const sizes = (groups: ReturnType<typeof byMemory>): number[][] =>
      groups.map(group => group.map(({ size }) => size));
    expect(sizes(byMemory([plan(2 ** 20), plan(2 ** 27), plan(5), plan(2 ** 20)]))).toEqual([
      [2 ** 20],
      [2 ** 27],
      [5, 2 ** 20],
    ]);
  });

  it('gives states that are copies, and takes arrays that stay the caller’s', async () => {
    const session = await e.compile(e.program(oneWeight()), { threads: 1 });
    const w = Float32Array.of(1, 2, 3);
    await session.setState({ w });
    const feeds = { rate: Float32Array.of(0.1), step: Float32Array.of(1), g: Float32Array.of(1, 1, 1) };
    const before = await session.getState(['w']);
    await session.run(feeds);
    expect([...w]).toEqual([1, 2, 3]);
    expect([...before.w]).toEqual([1, 2, 3]);
    expect(before.w.buffer.byteLength).toBe(12);
    const { w: after } = await session.getState(['w']);
    await session.dispose();
    expect(after as Float32Array).toBeAllclose([0.9, 1.9, 2.9], { rtol: 1e-5 });
  });
});
