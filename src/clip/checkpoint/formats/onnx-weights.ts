/** Where the weights of a model lie in an ONNX file, whose exporter has turned and renamed the matrices. */
import { S3aError } from '../../../errors.ts';
import type { OnnxFile } from '../../../io/onnx-file.ts';
import { type OnnxNode, usersOf } from '../../../io/onnx-graph.ts';
import { someWeights, type WeightSource } from '../source.ts';

export interface OnnxWeights {
  /** Our names, and where those that the file has lie in it. */
  readonly places: ReadonlyMap<string, WeightSource>;
  /** The tensor of `logit_scale`, where its exponential was stored. */
  readonly logitFactor: string | undefined;
}

interface Graph {
  readonly file: OnnxFile;
  /** The parameters' names that the model has. */
  readonly known: ReadonlySet<string>;
  readonly producers: ReadonlyMap<string, OnnxNode>;
  readonly users: ReadonlyMap<string, readonly OnnxNode[]>;
}

/** A product with a stored matrix: its operands, and whether it takes the matrix as [out, in]. */
interface Linear {
  readonly weight: string;
  readonly bias: string | undefined;
  readonly turned: boolean;
}

// Longer chains of nodes that only pass a value on are not followed.
const MAX_CHAIN = 16;

/**
 * Finds the parameters of a model in an exported graph.
 *
 * PyTorch's exporter keeps the names of parameters but for the matrices of linear layers: it stores these transposed under
 * names without meaning, and equal tensors once. Such a matrix is known by what the graph says about its product: the name of
 * the bias that is added to it, the module in the name of the node, or that the product is the tower's result. All that is said
 * must agree.
 * @param names the parameters of the model
 * @throws S3aError WEIGHTS when the graph contradicts itself, has 4-bit weights, or has weights that are not in `names`
 */
export function locateWeights(file: OnnxFile, names: readonly string[]): OnnxWeights {
  const producers = new Map(file.nodes.flatMap(node => node.outputs.map(name => [name, node] as const)));
  const graph: Graph = { file, known: new Set(names), producers, users: usersOf(file.nodes) };
  const places = new Map<string, WeightSource>();
  const unknown = new Set<string>();
  for (const node of file.nodes) {
    const linear = linearOf(file, node);
    const chain = linear && chainOf(graph, linear.weight);
    const stored = chain?.at(-1);
    if (!linear || !chain || stored === undefined || !file.has(stored.value)) continue;
    const name = moduleOf(graph, node, linear, chain);
    if (name === undefined || !graph.known.has(name)) {
      unknown.add(name ?? stored.value);
      continue;
    }
    const place = { name: stored.value, ...(linear.turned === stored.turned && { transposed: true }) };
    const other = places.get(name);
    if (other && (other.name !== place.name || other.transposed !== place.transposed)) {
      throw new S3aError(
        'WEIGHTS',
        `${file.path} says of two matrices, ${shown(other.name)} and ${shown(place.name)}, that they are ${name}`,
        'It was exported in a way that is not known; export it with optimum, or use the safetensors file.',
      );
    }
    places.set(name, place);
  }
  for (const name of names) {
    const place = places.get(name) ?? byName(graph, name);
    if (place) places.set(name, place);
  }
  const { scale, bias } = logitsOf(graph);
  const single = graph.known.has('logit_bias') ? {} : { squeezed: true };
  let logitFactor: string | undefined;
  if (scale && graph.known.has('logit_scale') && !places.has('logit_scale')) {
    if (scale.isExponential) logitFactor = scale.name;
    places.set('logit_scale', { name: scale.name, ...single });
  }
  if (bias !== undefined && graph.known.has('logit_bias') && !places.has('logit_bias'))
    places.set('logit_bias', { name: bias });
  const used = new Set([...places.values()].map(place => place.name));
  for (const name of file.names) {
    const plain = withoutSuffix(name);
    if (/\.(weight|bias)$/.test(plain) && !used.has(name) && !graph.known.has(plain)) unknown.add(plain);
  }
  if (unknown.size > 0) {
    throw new S3aError(
      'WEIGHTS',
      `${file.path} holds ${someWeights([...unknown].map(shown))}, which its configuration has no place for`,
      'Its configuration describes another model, or it was exported in a way that is not known.',
    );
  }
  return { places, logitFactor };
}

/** The operands of a node that multiplies with a matrix. */
function linearOf(file: OnnxFile, { type, inputs, attributes, name }: OnnxNode): Linear | undefined {
  const optional = (i: number): string | undefined => inputs[i] || undefined;
  const of = (bias: string | undefined, turned = false): Linear | undefined =>
    inputs.length > 1 ? { weight: inputs[1], bias, turned } : undefined;
  if (type === 'MatMul' || type === 'MatMulInteger') return of(undefined);
  if (type === 'Gemm') return of(optional(2), attributes.get('transB') === 1);
  if (type === 'FusedMatMul') return of(undefined, attributes.get('transB') === 1);
  if (type === 'MatMulIntegerToFloat') return of(optional(6));
  if (type === 'DynamicQuantizeMatMul') return of(optional(4));
  if (type === 'MatMulNBits' || type === 'MatMulBnb4' || type === 'MatMulFpQ4') {
    throw new S3aError(
      'WEIGHTS',
      `${file.path} has 4-bit weights (${type} at node '${shown(name)}'), which are too coarse to be trained`,
      'Use the float32, float16 or 8-bit file of the same model.',
    );
  }
  return undefined;
}

/** A value and whether it is the transposed of the one that the chain began with. */
interface Link {
  readonly value: string;
  readonly turned: boolean;
}

/** From a value back to the stored tensor it comes from, through nodes that only rename, convert or transpose it. */
function chainOf({ producers, file }: Graph, start: string): Link[] {
  const chain: Link[] = [{ value: start, turned: false }];
  for (let link = chain[0]; !file.has(link.value) && chain.length < MAX_CHAIN; ) {
    const producer = producers.get(link.value);
    const turn = producer?.type === 'Transpose' && String(producer.attributes.get('perm') ?? '1,0') === '1,0';
    const passes = producer && ['Identity', 'Cast', 'DequantizeLinear'].includes(producer.type);
    if (!producer || producer.inputs.length === 0 || !(turn || passes)) break;
    link = { value: producer.inputs[0], turned: link.turned !== turn };
    chain.push(link);
  }
  return chain;
}

/** The parameter that the matrix of a linear node is, as `….weight`, or undefined when the graph does not say. */
function moduleOf(graph: Graph, node: OnnxNode, linear: Linear, chain: readonly Link[]): string | undefined {
  const own = chain
    .map(({ value }) => withoutSuffix(value))
    .find(value => value.endsWith('.weight') || graph.known.has(value));
  const { bias, result } = linear.bias === undefined ? following(graph, node) : { bias: linear.bias, result: '' };
  const beside = bias?.endsWith('.bias') ? `${bias.slice(0, -'.bias'.length)}.weight` : undefined;
  const path = node.name.startsWith('/') ? node.name.split('/').slice(1, -1).join('.') : '';
  const scope = path === '' ? undefined : `${path}.weight`;
  const said = new Set([own, beside].filter(name => name !== undefined));
  // Nodes of a layer may carry the name of the module around it, which has no matrix of its own.
  if (scope !== undefined && (said.size === 0 || graph.known.has(scope))) said.add(scope);
  if (said.size === 0 && graph.file.outputs.includes(result)) {
    if (result === 'image_embeds') return 'visual_projection.weight';
    if (result === 'text_embeds') return 'text_projection.weight';
  }
  if (said.size > 1) {
    throw new S3aError(
      'WEIGHTS',
      `${graph.file.path} says of the matrix at node '${shown(node.name)}' that it is ${[...said].map(shown).join(' and ')}`,
      'It was exported in a way that is not known; export it with optimum, or use the safetensors file.',
    );
  }
  return [...said][0];
}

/** What is added to a product, behind the nodes that scale, convert or rename it, and the value that these make of it. */
function following({ users, producers }: Graph, node: OnnxNode): { bias: string | undefined; result: string } {
  let [value] = node.outputs;
  for (let i = 0; i < MAX_CHAIN; i++) {
    const next = users.get(value) ?? [];
    if (next.length !== 1) break;
    const [{ type, inputs, outputs }] = next;
    if (type === 'Add') {
      const other = inputs.find(name => name !== value);
      const isPassed = other !== undefined && producers.get(other)?.type === 'Cast';
      return { bias: isPassed ? producers.get(other)?.inputs[0] : other, result: value };
    }
    // Of an integer product, the multiplication is that by its scales.
    if (!['Cast', 'Identity', ...(node.type === 'MatMulInteger' ? ['Mul'] : [])].includes(type)) break;
    [value] = outputs;
  }
  return { bias: undefined, result: value };
}

/** A parameter that kept its name, or a table of positions that was looked up before the file was written. */
function byName(graph: Graph, name: string): WeightSource | undefined {
  const quantised = `${name}_quantized`;
  if (graph.file.has(quantised)) return { name: quantised };
  const looked = `/${name.replaceAll('.', '/').replace(/\/weight$/, '/Gather_output_0')}`;
  for (const start of [name, looked]) {
    const stored = chainOf(graph, start).at(-1);
    if (!stored || !graph.file.has(stored.value)) continue;
    return {
      name: stored.value,
      ...(stored.turned && { transposed: true }),
      // Positions are looked up for one image, which a batch of them shares.
      ...(start === looked && { squeezed: true }),
    };
  }
  return undefined;
}

/** A name out of the file, fit for a message. */
function shown(name: string): string {
  return name.slice(0, 200).replace(/\p{C}/gu, '\uFFFD');
}

function withoutSuffix(name: string): string {
  return name.replace(/_quantized$/, '');
}

interface Logits {
  readonly scale?: { readonly name: string; readonly isExponential: boolean };
  readonly bias?: string;
}

/** What makes logits of similarities: they are multiplied by exp(logit_scale), of SigLIP the logit_bias is added. */
function logitsOf(graph: Graph): Logits {
  const { file, producers } = graph;
  const stored = (value: string): string | undefined => {
    const name = chainOf(graph, value).at(-1)?.value;
    return name !== undefined && file.has(name) && file.info(name).shape.every(n => n === 1) ? name : undefined;
  };
  let node = producers.get('logits_per_text') ?? producers.get('logits_per_image');
  if (node?.type === 'Transpose') node = producers.get(node.inputs[0]);
  const bias = node?.type === 'Add' ? node.inputs.map(stored).find(name => name !== undefined) : undefined;
  if (node && bias !== undefined)
    node = node.inputs.map(name => producers.get(name)).find(made => made?.type === 'Mul');
  if (node?.type !== 'Mul') return {};
  for (const value of node.inputs) {
    const exponential = stored(value);
    if (exponential !== undefined) return { scale: { name: exponential, isExponential: true }, bias };
    const maker = producers.get(chainOf(graph, value).at(-1)?.value ?? '');
    const scale = maker?.type === 'Exp' ? stored(maker.inputs[0]) : undefined;
    if (scale !== undefined) return { scale: { name: scale, isExponential: false }, bias };
  }
  return {};
}
