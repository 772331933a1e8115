/**
 * Low-rank adaptation (Hu et al. 2021, arXiv 2106.09685): beside a weight W that stays, a trained product B·A of low rank.
 *
 * As in PEFT, A starts as torch's Linear does (uniform, Kaiming with a = √5) and B at zero, so that the tower starts as it was.
 */
import type { Parameter } from '../clip/towers/parameters.ts';
import { add, apply, conv2d, gemm, matMul, mul, type Node, reshape, sizeOf, type Tensor } from '../engine/index.ts';
import { type Change, rewrite } from '../engine/rewrite.ts';
import { random } from '../random.ts';

/** A weight that gets factors: a matrix [O, I], or a convolution's kernel [O, I, k, k]. */
export interface LoraTarget extends Parameter {
  /** Names of the factors: A [r, I] or [r, I, k, k], and B [O, r] or [O, r, 1, 1]. */
  readonly a: string;
  readonly b: string;
}

/** Attention and MLP of a transformer; blocks and attention pooling of a residual tower. Embedding, stem and projection stay. */
const TARGET = /(?:(?:q|k|v|out)_proj|in_proj_weight|fc[12]|\.stages\.\d+\..*)(?:\.weight)?$/;

/** Those of the weights that LoRA goes beside. */
export function loraTargets(parameters: readonly Parameter[]): LoraTarget[] {
  return parameters
    .filter(({ name, shape }) => shape.length > 1 && TARGET.test(name))
    .map(({ name, shape }) => {
      const base = name.replace(/\.weight$/, '');
      return { name, shape, a: `${base}.lora_A.weight`, b: `${base}.lora_B.weight` };
    });
}

/** The factors of all targets, as PEFT shapes them. */
export function loraFactors(targets: readonly LoraTarget[], rank: number): Parameter[] {
  return targets.flatMap(({ a, b, shape: [out, into, ...window] }) => [
    { name: a, shape: [rank, into, ...window] },
    { name: b, shape: [out, rank, ...window.map(() => 1)] },
  ]);
}

/** Factors as they start; each A has its own stream, keyed by its name. */
export function startFactors(targets: readonly LoraTarget[], rank: number, seed: number): Record<string, Float32Array> {
  const start: Record<string, Float32Array> = {};
  for (const {
    a,
    b,
    shape: [out, ...rest],
  } of targets) {
    const into = sizeOf(rest);
    const draw = random(seed, 'lora', a);
    const bound = 1 / Math.sqrt(into);
    start[a] = Float32Array.from({ length: rank * into }, () => draw.uniform(-bound, bound));
    start[b] = new Float32Array(out * rank);
  }
  return start;
}

/**
 * A tower with factors beside its weights: x·Wᵀ becomes x·Wᵀ + scale·(x·Aᵀ)·Bᵀ, so that no gradient of the size of W is made.
 * A weight that is used in another way (joined to others, cut in parts) is exchanged for W + scale·B·A.
 * @param weight tensor of a target's weight in `tower`
 * @param factor tensor of a factor by name
 */
export function withLora(
  tower: Tensor,
  targets: readonly LoraTarget[],
  scale: number,
  weight: (name: string) => Tensor,
  factor: (name: string) => Tensor,
): Tensor {
  const byWeight = new Map(targets.map(target => [weight(target.name), target]));
  const summed = new Map<Tensor, Tensor>();
  const sumOf = (tensor: Tensor, { a, b, shape }: LoraTarget): Tensor => {
    const [out, ...rest] = shape;
    const [left, right] = [reshape(factor(b), [out, -1]), reshape(factor(a), [-1, sizeOf(rest)])];
    const made = summed.get(tensor) ?? add(tensor, mul(reshape(matMul(left, right), shape), scale));
    summed.set(tensor, made);
    return made;
  };
  const change: Change = (node, inputs) => {
    const beside = byWeight.get(node.inputs[1]);
    if (beside) {
      const made = besideProduct(node, inputs, factor(beside.a), factor(beside.b), scale);
      if (made) return [made];
    }
    if (!node.inputs.some(tensor => byWeight.has(tensor))) return undefined;
    const exchanged = node.inputs.map((tensor, i) => {
      const target = byWeight.get(tensor);
      return target ? sumOf(tensor, target) : inputs[i];
    });
    return apply(node.operator, exchanged, node.attributes, node.outputs);
  };
  return rewrite([tower], new Map(), change)[0];
}

/** The product with its weight, and what the factors add; undefined when the node is no such product. */
function besideProduct(node: Node, inputs: readonly Tensor[], a: Tensor, b: Tensor, scale: number): Tensor | undefined {
  if (node.operator === 'Gemm') {
    const { transA, transB, alpha } = (node as Node<'Gemm'>).attributes;
    if (transA || !transB || alpha !== 1) return undefined;
    const narrow = gemm(inputs[0], a, undefined, { transB: true });
    return gemm(narrow, b, gemm(inputs[0], inputs[1], inputs[2], { transB: true }), { transB: true, alpha: scale });
  }
  if (node.operator !== 'Conv') return undefined;
  const { strides, pads, group } = (node as Node<'Conv'>).attributes;
  if (group !== 1 || strides[0] !== strides[1] || pads.some(n => n !== pads[0])) return undefined;
  const window = { stride: strides[0], padding: pads[0] };
  const whole = conv2d(inputs[0], inputs[1], inputs[2], window);
  return add(whole, mul(conv2d(conv2d(inputs[0], a, undefined, window), b), scale));
}

/** Weights in which the factors are part of what they stand beside: W + scale·B·A. */
export function mergeLora(
  weights: Readonly<Record<string, Float32Array>>,
  targets: readonly LoraTarget[],
  factors: Readonly<Record<string, Float32Array>>,
  rank: number,
  scale: number,
): Record<string, Float32Array> {
  const merged = { ...weights };
  for (const {
    name,
    a,
    b,
    shape: [out, ...rest],
  } of targets) {
    const into = sizeOf(rest);
    const whole = weights[name].slice();
    // Looked up once, not for each of a hundred million products.
    const [narrow, wide] = [factors[a], factors[b]];
    for (let row = 0; row < out; row++) {
      const values = whole.subarray(row * into, (row + 1) * into);
      for (let k = 0; k < rank; k++) {
        const share = scale * wide[row * rank + k];
        const start = k * into;
        for (let i = 0; i < into; i++) values[i] += share * narrow[start + i];
      }
    }
    merged[name] = whole;
  }
  return merged;
}
