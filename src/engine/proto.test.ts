/** The written bytes, read back by a decoder that follows the protocol-buffer encoding and knows nothing of the writer. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { constant, input, program, state } from './graph.ts';
import { toOnnx } from './onnx.ts';
import { add, matMul } from './ops/index.ts';
import { attributeProto, Message, tensorProto, valueInfoProto } from './proto.ts';

interface Field {
  number: number;
  wire: number;
  /** Wire type 0 an unsigned 64-bit integer, 2 and 5 bytes. */
  value: bigint | Uint8Array;
}

/** https://protobuf.dev/programming-guides/encoding */
function decode(bytes: Uint8Array): Field[] {
  const fields: Field[] = [];
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++];
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return value;
      if (shift >= 63n) throw new Error('a varint of more than ten bytes');
    }
  };
  while (at < bytes.length) {
    const tag = Number(varint());
    const wire = tag & 7;
    if (wire === 0) {
      fields.push({ number: tag >> 3, wire, value: varint() });
    } else {
      const length = wire === 5 ? 4 : Number(varint());
      expect([2, 5]).toContain(wire);
      expect(at + length).toBeLessThanOrEqual(bytes.length);
      fields.push({ number: tag >> 3, wire, value: bytes.subarray(at, at + length) });
      at += length;
    }
  }
  return fields;
}

const all = (bytes: Uint8Array, number: number): Uint8Array[] =>
  decode(bytes)
    .filter(field => field.number === number)
    .map(field => field.value as Uint8Array);
const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const texts = (bytes: Uint8Array, number: number): string[] => all(bytes, number).map(text);

describe('a message', () => {
  it.each<[number | bigint, number[]]>([
    [0, [0]],
    [1, [1]],
    [127, [127]],
    [128, [128, 1]],
    [300, [172, 2]],
    [2 ** 32, [128, 128, 128, 128, 16]],
    [Number.MAX_SAFE_INTEGER, [255, 255, 255, 255, 255, 255, 255, 15]],
    [2n ** 63n - 1n, [255, 255, 255, 255, 255, 255, 255, 255, 127]],
    [-1, [255, 255, 255, 255, 255, 255, 255, 255, 255, 1]],
    [-(2n ** 63n), [128, 128, 128, 128, 128, 128, 128, 128, 128, 1]],
  ])('writes the integer %s as the encoding prescribes', (value, bytes) => {
    expect([...new Message().int(1, value).finish()]).toEqual([8, ...bytes]);
  });

  it('keeps any sequence of fields, however long', () => {
    const field = fc.oneof(
      fc.record({
        kind: fc.constant('int' as const),
        number: fc.integer({ min: 1, max: 500 }),
        value: fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n),
      }),
      fc.record({
        kind: fc.constant('bytes' as const),
        number: fc.integer({ min: 1, max: 500 }),
        value: fc.uint8Array({ maxLength: 700 }),
      }),
      fc.record({ kind: fc.constant('float' as const), number: fc.integer({ min: 1, max: 500 }), value: fc.float() }),
    );
    fc.assert(
      fc.property(fc.array(field, { maxLength: 20 }), fields => {
        const message = new Message();
        for (const { kind, number, value } of fields) {
          if (kind === 'int') message.int(number, value);
          else if (kind === 'bytes') message.bytes(number, value);
          else message.float(number, value);
        }
        const read = decode(message.finish());
        expect(read.map(({ number }) => number)).toEqual(fields.map(({ number }) => number));
        fields.forEach(({ kind, value }, i) => {
          const { value: back } = read[i];
          if (kind === 'int') expect(BigInt.asIntN(64, back as bigint)).toBe(value);
          else if (kind === 'bytes') expect(Uint8Array.from(back as Uint8Array)).toEqual(value);
          else expect(new DataView((back as Uint8Array).slice().buffer).getFloat32(0, true)).toBe(value);
        });
      }),
      { seed: 5 },
    );
  });
});

describe('ONNX messages', () => {
  it('mark attributes with their type (AttributeProto.AttributeType)', () => {
    const typeOf = (bytes: Uint8Array): bigint => decode(bytes).find(({ number }) => number === 20)!.value as bigint;
    expect(typeOf(attributeProto('a', { float: 1 }).finish())).toBe(1n);
    expect(typeOf(attributeProto('a', 1).finish())).toBe(2n);
    expect(typeOf(attributeProto('a', 'x').finish())).toBe(3n);
    expect(typeOf(attributeProto('a', [1, -1]).finish())).toBe(7n);
  });

  it('hold tensors as raw little-endian bytes', () => {
    const bytes = tensorProto('w', 'int32', [2, 1], new Uint8Array(Int32Array.of(1, -2).buffer)).finish();
    expect(
      decode(bytes)
        .filter(({ number }) => number === 1)
        .map(({ value }) => value),
    ).toEqual([2n, 1n]);
    expect(decode(bytes).find(({ number }) => number === 2)?.value).toBe(6n);
    expect([...all(bytes, 9)[0]]).toEqual([1, 0, 0, 0, 254, 255, 255, 255]);
  });

  it('may name free dimensions', () => {
    const [type] = all(valueInfoProto('x', 'float32', ['batch', 3]).finish(), 2);
    const [tensor] = all(type, 1);
    const [shape] = all(tensor, 2);
    const [batch, three] = all(shape, 1);
    expect(texts(batch, 2)).toEqual(['batch']);
    expect(decode(three)).toEqual([{ number: 1, wire: 0, value: 3n }]);
  });
});

describe('a program in ONNX', () => {
  const x = input('x', 'float32', [2, 3]);
  const w = state('w', [3, 3]);
  const table = Float32Array.from({ length: 9 }, (_, i) => i);
  const model = toOnnx(
    program({
      y: matMul(x, w),
      w: add(w, constant(table, [3, 3])),
      z: add(w, constant(table.slice(), [3, 3])),
      x2: x,
    }),
  );
  const [graph] = all(model, 7);

  it('states its versions: IR 9, opset 20, com.microsoft 1', () => {
    expect(decode(model).find(({ number }) => number === 1)?.value).toBe(9n);
    const opsets = all(model, 8).map(bytes => [texts(bytes, 1)[0], decode(bytes).find(f => f.number === 2)?.value]);
    expect(opsets).toEqual([
      ['', 20n],
      ['com.microsoft', 1n],
    ]);
  });

  it('names inputs and outputs as the program does, a fed-back output apart from its state', () => {
    expect(
      all(graph, 11)
        .map(bytes => texts(bytes, 1)[0])
        .sort(),
    ).toEqual(['w', 'x']);
    expect(all(graph, 12).map(bytes => texts(bytes, 1)[0])).toEqual(['y', 'w:next', 'z', 'x2']);
  });

  it('holds equal constants once, and every name that a node reads', () => {
    expect(all(graph, 5)).toHaveLength(1);
    const known = new Set([...all(graph, 11).map(b => texts(b, 1)[0]), ...all(graph, 5).map(b => texts(b, 8)[0])]);
    for (const node of all(graph, 1)) {
      for (const name of texts(node, 1)) expect(known).toContain(name);
      for (const name of texts(node, 2)) {
        expect(known).not.toContain(name);
        known.add(name);
      }
    }
    for (const output of all(graph, 12)) expect(known).toContain(texts(output, 1)[0]);
  });
});
