/** The numbers, texts and bytes behind the instructions of a pickle, each checked against the bytes that are left. */
import { S3aError } from '../errors.ts';

/** The longest name of a function or class. */
export const MAX_NAME = 500;
const MAX_INTEGER = 255;

/** A place in a pickle; every method reads on from it and throws S3aError PICKLE where the bytes break off. */
export interface PickleReader {
  readonly at: number;
  byte(): number;
  uint16(): number;
  uint32(): number;
  int32(): number;
  /** An 8-byte length. */
  uint64(): number;
  float64(): number;
  /** A signed integer of `length` bytes; a bigint when a number cannot hold it exactly. */
  integer(length: number): number | bigint;
  text(length: number): string;
  bytes(length: number): Uint8Array<ArrayBuffer>;
  /** Checks that this many bytes follow. */
  expect(length: number): void;
  /** Text up to the next line feed, for names. */
  line(): string;
}

/** What is wrong with a pickle, on one line. */
export function badPickle(path: string, what: string): S3aError {
  return new S3aError('PICKLE', `${path} holds a damaged pickle: ${what}`, 'Download or export the file again.');
}

/** A reader of `data` from `start` on; `path` is for messages. */
export function readPickle(data: Uint8Array<ArrayBuffer>, start: number, path: string): PickleReader {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const decoder = new TextDecoder();
  let at = start;
  const expect = (count: number): void => {
    if (!(count >= 0 && count <= data.length - at)) throw badPickle(path, 'it breaks off');
  };
  /** Where the next `count` bytes start. */
  const step = (count: number): number => {
    expect(count);
    at += count;
    return at - count;
  };
  return {
    get at() {
      return at;
    },
    byte: () => data[step(1)],
    uint16: () => view.getUint16(step(2), true),
    uint32: () => view.getUint32(step(4), true),
    int32: () => view.getInt32(step(4), true),
    uint64: () => Number(view.getBigUint64(step(8), true)),
    float64: () => view.getFloat64(step(8)),
    integer: count => {
      if (count > MAX_INTEGER) throw badPickle(path, `an integer of ${count} bytes is too long`);
      const begin = step(count);
      let value = 0n;
      for (let i = count - 1; i >= 0; i--) value = (value << 8n) | BigInt(data[begin + i]);
      value = BigInt.asIntN(count * 8, value);
      return Number.isSafeInteger(Number(value)) ? Number(value) : value;
    },
    text: count => decoder.decode(data.subarray(step(count), at)),
    bytes: count => data.slice(step(count), at),
    expect,
    line: () => {
      const end = data.indexOf(10, at);
      if (end < 0 || end - at > MAX_NAME) throw badPickle(path, 'a name in it does not end');
      const text = decoder.decode(data.subarray(at, end));
      at = end + 1;
      return text;
    },
  };
}
