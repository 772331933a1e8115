/** The names of the tensors in a PyTorch file: of a state dict, wherever in a checkpoint it lies, or of a tree of modules. */
import { S3aError } from '../errors.ts';
import { isPickleObject, type PickleObject, type PickleValue } from './pickle.ts';
import { isTorchTensor, type TorchTensor } from './torch-pickle.ts';

/** Where training scripts put the state dict, the likeliest first; `module` is DeepSpeed's. */
const NESTED = ['state_dict', 'model_state_dict', 'model', 'module', 'weights'];
const MAX_NESTED = 4;

/** What DistributedDataParallel and torch.compile put before every name. */
const PREFIXES = ['module.', '_orig_mod.'];

// A pickle may hold one module at many places, and so a tree that is larger than the file.
const MAX_VISITS = 500_000;
const MAX_DEPTH = 50;
const MAX_NAME = 500;

/**
 * The tensors by name.
 *
 * Throws S3aError TORCH when there is no state dict, and when the names are too many or too long.
 */
export function namedTensors(root: PickleValue, path: string): Map<string, TorchTensor> {
  return isPickleObject(root) ? moduleTensors(root, path) : dictTensors(root, path);
}

/** Dotted names of a TorchScript module's tensors and of those in the modules it holds. */
function moduleTensors(root: PickleObject, path: string): Map<string, TorchTensor> {
  const tensors = new Map<string, TorchTensor>();
  let visits = 0;
  const visit = ({ state }: PickleObject, prefix: string, depth: number): void => {
    if (!(state instanceof Map)) return;
    if (depth > MAX_DEPTH) throw new S3aError('TORCH', `${path} nests its modules more than ${MAX_DEPTH} deep`);
    for (const [key, value] of state as Map<PickleValue, PickleValue>) {
      if (++visits > MAX_VISITS) throw new S3aError('TORCH', `${path} has more than ${MAX_VISITS} attributes`);
      if (typeof key !== 'string') continue;
      const name = prefix + key;
      checkName(name, path);
      if (isPickleObject(value)) visit(value, `${name}.`, depth + 1);
      if (!isTorchTensor(value)) continue;
      if (tensors.has(name)) throw new S3aError('TORCH', `${path} has two tensors named ${JSON.stringify(name)}`);
      tensors.set(name, value);
    }
  };
  visit(root, '', 0);
  if (tensors.size === 0) throw new S3aError('TORCH', `${path} is a TorchScript archive without tensors`);
  return tensors;
}

function dictTensors(root: PickleValue, path: string): Map<string, TorchTensor> {
  const dict = root instanceof Map ? findStateDict(root, 0, new Set()) : undefined;
  if (!dict) {
    const keys = root instanceof Map ? [...root.keys()].filter(key => typeof key === 'string').slice(0, 10) : [];
    const what = keys.length
      ? `its keys are ${JSON.stringify(keys.map(key => key.slice(0, 40)))}`
      : 'it is no dict with names';
    throw new S3aError(
      'TORCH',
      `${path} holds no state dict: ${what}`,
      'Save the weights alone in Python: torch.save(model.state_dict(), "weights.pt").',
    );
  }
  const tensors = new Map<string, TorchTensor>();
  for (const [name, value] of dict) {
    if (typeof name !== 'string' || !isTorchTensor(value)) continue;
    checkName(name, path);
    tensors.set(name, value);
  }
  return tensors;
}

type Dict = ReadonlyMap<PickleValue, PickleValue>;

/** The innermost dict under the usual keys that has tensors. */
function findStateDict(dict: Dict, depth: number, seen: Set<Dict>): Dict | undefined {
  if (seen.has(dict) || depth > MAX_NESTED) return undefined;
  seen.add(dict);
  for (const key of NESTED) {
    const inner = dict.get(key);
    const found = inner instanceof Map ? findStateDict(inner, depth + 1, seen) : undefined;
    if (found) return found;
  }
  for (const [name, value] of dict) if (typeof name === 'string' && isTorchTensor(value)) return dict;
  return undefined;
}

/** The tensors with the prefixes taken off that every name has because the model was wrapped. */
export function withoutPrefixes(tensors: Map<string, TorchTensor>): Map<string, TorchTensor> {
  const names = [...tensors.keys()];
  const prefix = PREFIXES.find(candidate => names.every(name => name.startsWith(candidate)));
  if (prefix === undefined) return tensors;
  return withoutPrefixes(new Map([...tensors].map(([name, tensor]) => [name.slice(prefix.length), tensor])));
}

function checkName(name: string, path: string): void {
  if (name.length > MAX_NAME) {
    throw new S3aError(
      'TORCH',
      `${path} has a tensor name of ${name.length} characters: ${JSON.stringify(name.slice(0, 40))}…`,
    );
  }
}
