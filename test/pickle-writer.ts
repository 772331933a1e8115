/** Pickles for tests, written instruction by instruction, so that they can also hold what no program writes. */

/** Instructions that leave one value on the stack. */
export type Pickled = Buffer;

export const text = (value: string): Pickled =>
  Buffer.concat([Buffer.from('X'), u32(Buffer.byteLength(value)), Buffer.from(value)]);

/** A whole number, also one far beyond 2^53. */
export function whole(value: number | bigint): Pickled {
  const bytes: number[] = [];
  let rest = BigInt(value);
  for (; !(rest === 0n || rest === -1n) || bytes.length === 0; rest >>= 8n) bytes.push(Number(rest & 255n));
  if (bytes.at(-1)! >= 128 !== (rest === -1n)) bytes.push(rest === -1n ? 255 : 0);
  return Buffer.from([0x8a, bytes.length, ...bytes]);
}

export const real = (value: number): Pickled => {
  const bytes = Buffer.alloc(9, 'G');
  bytes.writeDoubleBE(value, 1);
  return bytes;
};

export const none: Pickled = Buffer.from('N');
export const yes: Pickled = Buffer.from([0x88]);
export const no: Pickled = Buffer.from([0x89]);
export const tuple = (...items: Pickled[]): Pickled => Buffer.concat([Buffer.from('('), ...items, Buffer.from('t')]);
export const list = (...items: Pickled[]): Pickled => Buffer.concat([Buffer.from(']('), ...items, Buffer.from('e')]);

export function dict(entries: Readonly<Record<string, Pickled>>): Pickled {
  const items = Object.entries(entries).flatMap(([key, value]) => [text(key), value]);
  return Buffer.concat([Buffer.from('}('), ...items, Buffer.from('u')]);
}

/** A function or class, such as `global('torch', 'FloatStorage')`. */
export const global = (module: string, name: string): Pickled => Buffer.from(`c${module}\n${name}\n`);
export const call = (callee: Pickled, ...args: Pickled[]): Pickled =>
  Buffer.concat([callee, tuple(...args), Buffer.from('R')]);
export const object = (type: Pickled, state: Pickled): Pickled =>
  Buffer.concat([type, Buffer.from(')\x81', 'latin1'), state, Buffer.from('b')]);
export const persistent = (id: Pickled): Pickled => Buffer.concat([id, Buffer.from('Q')]);

/** A whole pickle of protocol 2. */
export const pickleOf = (value: Pickled): Buffer => Buffer.concat([Buffer.from([0x80, 2]), value, Buffer.from('.')]);

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}
