/** Every node of a step has a CUDA kernel in the opset and for the types that it is written with, and finds its inputs where that wants them. */
import { readFileSync } from 'node:fs';
import { expect, it, test } from 'vitest';
import { parseClipConfig } from '../clip/towers/config.ts';
import type { DType, Program } from '../engine/index.ts';
import { type OnnxGraph, onnxGraph } from '../engine/onnx.ts';
import { CUDA_OPSET, DATA_TYPE, type NodeFields } from '../engine/proto.ts';
import { mustProgram } from './must/step.ts';
import { type StepOptions, stepProgram } from './step.ts';
import { type TuneSettings, tunePlan } from './tune.ts';

type ElementType = DType | 'bool';

const FLOATS: readonly ElementType[] = ['float16', 'float32', 'float64'];
const NUMBERS: readonly ElementType[] = [...FLOATS, 'int32', 'int64'];
const ANY: readonly ElementType[] = [...NUMBERS, 'bool'];
const INDEX: readonly ElementType[] = ['int32', 'int64'];

interface Kernel {
  /** Versions of the operator from the first to the last; without a last one, the first alone. */
  readonly versions: readonly [number, number?];
  /** Of its operands and results. */
  readonly types: readonly ElementType[];
  /** Inputs and outputs of other types, by their numbers. */
  readonly inputs?: Readonly<Record<number, readonly ElementType[]>>;
  readonly outputs?: Readonly<Record<number, readonly ElementType[]>>;
  /** Inputs that it takes from the memory of the processor. */
  readonly host?: readonly number[];
}

const of = (types: readonly ElementType[], first: number, last?: number): Kernel => ({
  types,
  versions: [first, last],
});
const sized = (kernel: Kernel, ...host: number[]): Kernel => ({ ...kernel, host });
const comparison = (kernel: Kernel): Kernel => ({ ...kernel, outputs: { 0: ['bool'] } });

/**
 * ONNX Runtime's docs/OperatorKernels.md, of the CUDA provider, what the versions of opset 18 need of it; which inputs are on the host
 * is in the kernels' definitions (onnxruntime/core/providers/cuda).
 */
const KERNELS: Readonly<Record<string, Kernel>> = {
  Abs: of(NUMBERS, 13),
  Add: of(NUMBERS, 14),
  And: of(['bool'], 7),
  ArgMax: { ...of(FLOATS, 13), outputs: { 0: ['int64'] } },
  AveragePool: of(FLOATS, 11, 18),
  Cast: of(ANY, 13, 18),
  Concat: of(ANY, 13),
  Conv: of(FLOATS, 11, 21),
  ConvTranspose: of(FLOATS, 11),
  Div: of(NUMBERS, 14),
  Equal: comparison(of(ANY, 13)),
  Erf: of(FLOATS, 13),
  Exp: of(FLOATS, 13),
  Expand: sized(of(ANY, 13), 1),
  Gather: { ...of(ANY, 13), inputs: { 1: INDEX } },
  Gemm: of(FLOATS, 13),
  Greater: comparison(of(NUMBERS, 13)),
  GreaterOrEqual: comparison(of(NUMBERS, 16)),
  Identity: of(ANY, 14, 18),
  LayerNormalization: { ...of(FLOATS, 17), outputs: { 1: ['float32'], 2: ['float32'] } },
  Log: of(FLOATS, 13),
  LogSoftmax: of(FLOATS, 13),
  Loop: sized(of(ANY, 13, 18), 0, 1),
  MatMul: of(FLOATS, 13),
  Max: of(NUMBERS, 13),
  Min: of(NUMBERS, 13),
  Mul: of(NUMBERS, 14),
  Neg: of(NUMBERS, 13),
  OneHot: { ...sized(of(['float16', 'float32'], 11), 1, 2), inputs: { 0: INDEX, 1: INDEX } },
  Pad: sized(of([...FLOATS, 'bool'], 18), 1, 2),
  Reciprocal: of(FLOATS, 13),
  ReduceMax: sized(of(NUMBERS, 18), 1),
  ReduceMean: sized(of([...FLOATS, 'int32'], 18), 1),
  ReduceSum: sized(of(NUMBERS, 13), 1),
  Relu: of(FLOATS, 14),
  Reshape: sized(of(ANY, 14, 18), 1),
  ScatterElements: { ...of(ANY, 18), inputs: { 1: INDEX } },
  SequenceEmpty: of(ANY, 11),
  Sigmoid: of(FLOATS, 13),
  Slice: sized(of(ANY, 13), 1, 2, 3, 4),
  Softmax: of(FLOATS, 13),
  Sqrt: of(FLOATS, 13),
  Sub: of(NUMBERS, 14),
  Tanh: of(FLOATS, 13),
  TopK: { ...sized(of(NUMBERS, 11), 1), outputs: { 1: ['int64'] } },
  Transpose: of(ANY, 13, 20),
  Where: { ...of(NUMBERS, 16), inputs: { 0: ['bool'] } },
};

/** Its operators of com.microsoft. */
const OWN_KERNELS: Readonly<Record<string, Kernel>> = {
  FastGelu: of(FLOATS, 1),
  FusedMatMul: of(FLOATS, 1),
  Gelu: of(FLOATS, 1),
  QuickGelu: of(FLOATS, 1),
};

const kernelOf = ({ domain, type }: NodeFields): Kernel | undefined =>
  domain === undefined ? KERNELS[type] : domain === 'com.microsoft' ? OWN_KERNELS[type] : undefined;

/** What there is against a graph's nodes on CUDA, a line each. */
function faults({ nodes, inputs, constants }: OnnxGraph): string[] {
  const types = new Map<string, ElementType>([...inputs, ...constants].map(({ name, type }) => [name, type]));
  const constant = new Set(constants.map(({ name }) => name));
  const onHost = new Set<string>();
  const onCard = new Set<string>();
  const found: string[] = [];
  for (const node of nodes) {
    const kernel = kernelOf(node);
    if (!kernel) {
      found.push(`${node.type} has no kernel`);
      continue;
    }
    const check = (name: string, allowed: readonly ElementType[]): void => {
      const type = types.get(name);
      if (!type || !allowed.includes(type)) found.push(`${node.type} has no kernel for ${type}`);
    };
    for (const [i, name] of node.inputs.entries()) {
      const isHost = kernel.host?.includes(i);
      (isHost ? onHost : onCard).add(name);
      if (isHost && !constant.has(name)) found.push(`${node.type} would wait for its input ${i}`);
      check(name, kernel.inputs?.[i] ?? (isHost ? ANY : kernel.types));
    }
    const [made] = Object.entries(DATA_TYPE).find(([, code]) => code === node.attributes?.to) ?? [];
    const operand = types.get(node.inputs.find((_, i) => !kernel.host?.includes(i) && !kernel.inputs?.[i]) ?? '');
    for (const [i, name] of node.outputs.entries()) {
      types.set(name, (made as ElementType | undefined) ?? kernel.outputs?.[i]?.[0] ?? operand ?? 'float32');
      check(name, kernel.outputs?.[i] ?? kernel.types);
    }
  }
  for (const name of onHost) if (onCard.has(name)) found.push(`${name} is wanted on the host and on the card`);
  return found;
}

const transformer = { hidden_size: 16, intermediate_size: 32, num_attention_heads: 2, num_hidden_layers: 3 };
const vision = { ...transformer, image_size: 16, patch_size: 4 };
const residual = { ...{ model_type: 's3a_resnet', image_size: 32, stem_width: 8, stem_pool: true }, blocks: [1, 1] };
const TRANSFORMERS = {
  'CLIP with quickGelu': { vision_config: vision },
  'CLIP with gelu': { vision_config: { ...vision, hidden_act: 'gelu' } },
  SigLIP: { model_type: 'siglip', vision_config: vision, text_config: { projection_size: 16 } },
};
const RESIDUAL = {
  'residual, attention': {
    vision_config: { ...residual, widths: [8, 16], block: 'basic', pool: 'attention', num_attention_heads: 2 },
  },
  'residual, mean': { vision_config: { ...residual, widths: [8, 16], block: 'bottleneck', pool: 'mean' } },
};
const STEPS: Partial<StepOptions>[] = [
  {},
  { instanceNames: 'found' },
  { gradCheckpointing: true },
  { clip: 1, accumulate: 2 },
];
const TUNES: TuneSettings[] = [{ tune: 'lora' }, { tune: 'last-blocks' }, { tune: 'head' }, { patchDropout: 0.5 }];

/** All kinds of steps of a tower. */
function programs(raw: object, tunes: readonly TuneSettings[]): Program[] {
  const config = parseClipConfig(raw);
  const sizes = { config, batch: 2, names: 9, logitScale: 10 };
  const changes = [...STEPS, ...tunes.map(settings => ({ plan: tunePlan(config, settings) }))];
  return (['fp32', 'amp'] as const).flatMap(precision =>
    changes.map(change => stepProgram({ ...sizes, ...change, precision })),
  );
}

test.each(Object.entries({ ...TRANSFORMERS, ...RESIDUAL }))('the steps of %s run on CUDA alone', (name, raw) => {
  // SigLIP has no projection that `head` would tune.
  const tunes = name in TRANSFORMERS ? TUNES.filter(({ tune }) => name !== 'SigLIP' || tune !== 'head') : [];
  const graphs = programs(raw, tunes).map(graph => onnxGraph(graph, { cuda: true }));
  expect(new Set(graphs.flatMap(faults))).toEqual(new Set());
});

test('so does the step of MUST', () => {
  const config = parseClipConfig(TRANSFORMERS['CLIP with quickGelu']);
  for (const names of [9, 600]) {
    const sizes = { config, batch: 2, names, logitScale: 10, trainHead: true, weightDecay: 0.05, layerDecay: 0.65 };
    expect(faults(onnxGraph(mustProgram(sizes), { cuda: true }))).toEqual([]);
  }
});

test('the kernels are of the versions that the opset gives their operators', () => {
  const golden = new URL('../../test/goldens/engine/onnx-versions.json', import.meta.url);
  const { opset, versions } = JSON.parse(readFileSync(golden, 'utf8')) as {
    opset: number;
    versions: Record<string, number>;
  };
  expect(CUDA_OPSET).toBe(opset);
  // As ONNX Runtime looks a kernel up: one without a last version is for its first version alone.
  const fits = ([type, { versions: range }]: [string, Kernel]): boolean => {
    const [first, last] = range;
    return first === versions[type] || (last !== undefined && first < versions[type] && versions[type] <= last);
  };
  expect(Object.entries(KERNELS).filter(entry => !fits(entry))).toEqual([]);
});

it('finds what has no kernel', () => {
  const value = (name: string, type: DType) => ({ name, type, dimensions: [4] });
  const graph = (node: NodeFields): OnnxGraph => ({
    nodes: [node],
    constants: [],
    inputs: [value('half', 'float16'), value('long', 'int64')],
    outputs: [],
  });
  const node = (type: string, inputs: string[]): NodeFields => ({ type, inputs, outputs: ['y'] });
  expect(faults(graph(node('Tile', ['half', 'long'])))).toEqual(['Tile has no kernel']);
  expect(faults(graph({ ...node('Gelu', ['half']), domain: 'com.example' }))).toEqual(['Gelu has no kernel']);
  expect(faults(graph(node('Sqrt', ['long'])))).toContain('Sqrt has no kernel for int64');
  expect(faults(graph(node('Reshape', ['half', 'long'])))).toEqual(['Reshape would wait for its input 1']);
});
