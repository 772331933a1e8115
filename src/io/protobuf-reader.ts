/** Walks the fields of a protocol-buffer message that lies in a file, without reading what is not asked for. */
import type { S3aError } from '../errors.ts';
import type { ByteFile } from './bytes.ts';

// What is read ahead: many small fields at once, and little beside a large tensor that is skipped.
const WINDOW = 1 << 15;

// A ViT-L with its text tower has some 40,000; a file of a gigabyte of two-byte fields would take minutes.
const MAX_FIELDS = 4_000_000;
const MAX_TEXT = 1 << 28;

const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

/** Two bytes for the tag of any field that is known here, ten for a varint, and one more tag byte than needed. */
const LONGEST_HEADER = 20;

/** One field, with the extent of its content in the file. */
export interface Field {
  readonly number: number;
  readonly wire: 0 | 1 | 2 | 5;
  /** Of a varint, as unsigned 64 bits; otherwise 0n. */
  readonly value: bigint;
  readonly start: number;
  readonly end: number;
}

export interface ProtobufReader {
  /** The fields of the message in the bytes [start, end); throws what `bad` makes for bytes that are no message. */
  fields(start: number, end: number): AsyncGenerator<Field>;
  /** The content of a field as UTF-8 text of at most `limit` bytes. */
  text(field: Field, limit: number): Promise<string>;
  /** The content of a packed field of varints, or the one value of a field that is not packed. */
  varints(field: Field, limit: number): Promise<bigint[]>;
}

/**
 * A reader of the messages in a file.
 * @param bad makes the error for a file that is not what it should be; the argument says what is wrong and where
 */
export function protobufReader(file: ByteFile, bad: (what: string) => S3aError): ProtobufReader {
  let window = new Uint8Array(0);
  let windowStart = 0;
  let seen = 0;
  let textBytes = 0;

  const need = async (start: number, length: number): Promise<void> => {
    if (start >= windowStart && start + length <= windowStart + window.length) return;
    window = await file.read(start, Math.min(Math.max(length, WINDOW), file.size - start));
    windowStart = start;
  };

  async function* fields(start: number, end: number): AsyncGenerator<Field> {
    for (let at = start; at < end; ) {
      await need(at, Math.min(LONGEST_HEADER, end - at));
      if (++seen > MAX_FIELDS) throw bad(`more than ${MAX_FIELDS} fields`);
      const [tag, afterTag] = varint(window, at - windowStart, Math.min(window.length, end - windowStart), at, bad);
      const number = Number(tag >> 3n);
      const wire = Number(tag & 7n);
      if (number < 1 || number >= 2 ** 29) throw bad(`the field number ${number} at byte ${at}`);
      if (wire !== 0 && wire !== 1 && wire !== 2 && wire !== 5) throw bad(`the wire type ${wire} at byte ${at}`);
      let from = windowStart + afterTag;
      let value = 0n;
      let length = wire === 1 ? 8 : wire === 5 ? 4 : 0;
      if (wire === 0 || wire === 2) {
        const limit = Math.min(window.length, end - windowStart);
        const [number, after] = varint(window, afterTag, limit, at, bad);
        if (wire === 0) {
          value = number;
          length = after - afterTag;
        } else {
          from = windowStart + after;
          if (number > BigInt(end - from))
            throw bad(`a field of ${number} bytes at byte ${at}, where ${end - from} are left`);
          length = Number(number);
        }
      }
      if (from + length > end) throw bad(`a field that is cut short at byte ${at}`);
      at = from + length;
      yield { number, wire, value, start: from, end: at };
    }
  }

  const content = async (field: Field, limit: number): Promise<Uint8Array> => {
    const length = field.end - field.start;
    if (field.wire !== 2) throw bad(`field ${field.number} before byte ${field.end} is not text or bytes`);
    if (length > limit) throw bad(`a text of ${length} bytes at byte ${field.start}, at most ${limit} are read`);
    await need(field.start, length);
    return window.subarray(field.start - windowStart, field.end - windowStart);
  };

  return {
    fields,
    text: async (field, limit) => {
      const bytes = await content(field, limit);
      textBytes += bytes.length;
      if (textBytes > MAX_TEXT) throw bad(`more than ${MAX_TEXT} bytes of names`);
      return decoder.decode(bytes);
    },
    varints: async (field, limit) => {
      if (field.wire === 0) return [field.value];
      const bytes = await content(field, limit);
      const values: bigint[] = [];
      for (let at = 0; at < bytes.length; ) {
        const [value, after] = varint(bytes, at, bytes.length, field.start + at, bad);
        values.push(value);
        at = after;
      }
      return values;
    },
  };
}

/** The varint at `at` and where it ends; `place` is its byte in the file, for the message. */
export function varint(
  bytes: Uint8Array,
  at: number,
  end: number,
  place: number,
  bad: (what: string) => S3aError,
): [value: bigint, after: number] {
  // The first four bytes hold what nearly all varints are, within the 31 bits of a plain number.
  let low = 0;
  for (let i = 0; i < 4 && at + i < end; i++) {
    low |= (bytes[at + i] & 127) << (7 * i);
    if (bytes[at + i] < 128) return [BigInt(low), at + i + 1];
  }
  let value = BigInt(low);
  for (let i = 4; i < 10 && at + i < end; i++) {
    value |= BigInt(bytes[at + i] & 127) << BigInt(7 * i);
    if (bytes[at + i] < 128) return [BigInt.asUintN(64, value), at + i + 1];
  }
  throw bad(`a number without an end at byte ${place}`);
}
