/** The stack and the memo of an unpickler, with limits on how much a pickle may put there. */
import { badPickle } from './pickle-reader.ts';

// A checkpoint with an optimizer has about 100 values and 15 containers a tensor.
const MAX_VALUES = 5_000_000;
const MAX_CONTAINERS = 1_000_000;

/** Values of a pickle in the making; every method throws S3aError PICKLE when it finds something else than it needs. */
export interface PickleStack {
  push(value: unknown): void;
  /** Pushes what takes memory of its own. */
  pushContainer(value: object): void;
  pushTuple(items: unknown[]): void;
  /** Takes the uppermost value. */
  pop(): unknown;
  /** The uppermost value, which stays. */
  top(): unknown;
  mark(): void;
  /** Takes the values since the last mark, and the mark. */
  popMark(): unknown[];
  /** Adds items to the list on top. */
  append(items: readonly unknown[]): void;
  /** Adds keys and values, in turn, to the dict on top. */
  setItems(items: readonly unknown[]): void;
  addItems(items: readonly unknown[]): void;
  /** Keeps the uppermost value as this number; without one as the next. */
  keep(index?: number): void;
  /** Pushes a value that was kept. */
  recall(index: number): void;
}

/** An empty stack; `path` is for messages. */
export function pickleStack(path: string): PickleStack {
  const stack: unknown[] = [];
  const marks: number[] = [];
  const memo = new Map<number, unknown>();
  let values = 0;
  let containers = 0;

  const push = (value: unknown): void => {
    if (++values > MAX_VALUES) throw badPickle(path, `it has more than ${MAX_VALUES} values`);
    stack.push(value);
  };
  const pushContainer = (value: object): void => {
    if (++containers > MAX_CONTAINERS) throw badPickle(path, `it has more than ${MAX_CONTAINERS} containers`);
    push(value);
  };
  // Values below the last mark belong to others.
  const floor = (): number => marks.at(-1) ?? 0;
  const top = (): unknown => {
    if (stack.length <= floor()) throw badPickle(path, 'it takes a value where none is');
    return stack.at(-1);
  };
  return {
    push,
    pushContainer,
    pushTuple: items => pushContainer(Object.freeze(items)),
    pop: () => {
      const value = top();
      stack.length--;
      return value;
    },
    top,
    mark: () => {
      if (marks.push(stack.length) > MAX_CONTAINERS) throw badPickle(path, 'it is nested too deeply');
    },
    popMark: () => {
      const mark = marks.pop();
      if (mark === undefined) throw badPickle(path, 'it takes values since a mark that is not there');
      return stack.splice(mark);
    },
    append: items => {
      const list = top();
      if (!Array.isArray(list) || Object.isFrozen(list)) throw badPickle(path, 'it appends to what is no list');
      for (const item of items) list.push(item);
    },
    setItems: items => {
      const dict = top();
      if (!(dict instanceof Map) || items.length % 2) throw badPickle(path, 'it sets items of what is no dict');
      for (let i = 0; i < items.length; i += 2) dict.set(items[i], items[i + 1]);
    },
    addItems: items => {
      const set = top();
      if (!(set instanceof Set)) throw badPickle(path, 'it adds items to what is no set');
      for (const item of items) set.add(item);
    },
    keep: (index = memo.size) => memo.set(index, top()),
    recall: index => {
      if (!memo.has(index)) throw badPickle(path, `it recalls the value ${index}, which it never kept`);
      push(memo.get(index));
    },
  };
}
