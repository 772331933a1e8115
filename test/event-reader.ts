/** Reads TensorBoard's event files strictly, knowing nothing of the writer: every checksum and every field must be right. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface ReadEvent {
  seconds: number;
  step: number;
  version?: string;
  start?: true;
  scalars: [tag: string, value: number][];
  texts: [tag: string, text: string][];
}

/** The files of a folder in TensorBoard's order, each with its events; empty when there is no folder. */
export function eventFiles(folder: string): { name: string; events: ReadEvent[] }[] {
  let names: string[];
  try {
    names = readdirSync(folder).sort();
  } catch {
    return [];
  }
  return names.map(name => {
    if (!name.includes('tfevents')) throw new Error(`TensorBoard would not read ${name}`);
    return { name, events: records(readFileSync(join(folder, name))).map(readEvent) };
  });
}

/** What TensorBoard shows of a folder: a file's start event drops what came before from its step on. */
export function shownEvents(folder: string): ReadEvent[] {
  let shown: ReadEvent[] = [];
  for (const event of eventFiles(folder).flatMap(({ events }) => events)) {
    if (event.start) shown = shown.filter(({ step }) => step < event.step);
    else shown.push(event);
  }
  return shown;
}

/** The contents of the records of a TFRecord file. */
export function records(bytes: Buffer): Buffer[] {
  const out: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = Number(bytes.readBigUInt64LE(at));
    check(bytes.subarray(at, at + 8), bytes.readUInt32LE(at + 8));
    const data = bytes.subarray(at + 12, at + 12 + length);
    check(data, bytes.readUInt32LE(at + 12 + length));
    out.push(data);
    at += 16 + length;
  }
  return out;
}

/** Undoes the mask and compares with the checksum, bit by bit. */
function check(data: Uint8Array, masked: number): void {
  const turned = (masked - 0xa282ead8) >>> 0;
  const wanted = ((turned << 15) | (turned >>> 17)) >>> 0;
  let crc = 0xffffffff;
  for (const byte of data) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (0x82f63b78 & -(crc & 1));
  }
  if (~crc >>> 0 !== wanted) throw new Error('a record whose checksum is wrong');
}

type Field = { number: number; wire: number; value: number; bytes: Buffer };

function fields(bytes: Buffer): Field[] {
  const out: Field[] = [];
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes.readUInt8(at++);
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const tag = varint();
    const wire = tag & 7;
    const field: Field = { number: tag >> 3, wire, value: 0, bytes: Buffer.alloc(0) };
    if (wire === 0) {
      field.value = varint();
    } else {
      const length = wire === 1 ? 8 : wire === 5 ? 4 : varint();
      if (wire === 3 || wire === 4 || wire > 5 || at + length > bytes.length) throw new Error('a field that is none');
      field.bytes = bytes.subarray(at, at + length);
      at += length;
    }
    out.push(field);
  }
  return out;
}

/** The only field of a number and type, or undefined. */
function one(all: Field[], number: number, wire: number): Field | undefined {
  const found = all.filter(field => field.number === number);
  if (found.length > 1 || found.some(field => field.wire !== wire)) throw new Error(`field ${number} is wrong`);
  return found[0];
}

function only(all: Field[], known: number[]): void {
  const strange = all.find(({ number }) => !known.includes(number));
  if (strange) throw new Error(`field ${strange.number} is not known here`);
}

function readEvent(bytes: Buffer): ReadEvent {
  const all = fields(bytes);
  only(all, [1, 2, 3, 5, 7]);
  const time = one(all, 1, 1);
  if (!time) throw new Error('an event without a time');
  const event: ReadEvent = {
    seconds: time.bytes.readDoubleLE(),
    step: one(all, 2, 0)?.value ?? 0,
    scalars: [],
    texts: [],
  };
  const version = one(all, 3, 2);
  if (version) event.version = version.bytes.toString();
  const session = one(all, 7, 2);
  if (session) {
    if (one(fields(session.bytes), 1, 0)?.value !== 1) throw new Error('a session event that starts nothing');
    event.start = true;
  }
  for (const value of fields(one(all, 5, 2)?.bytes ?? Buffer.alloc(0))) {
    const parts = fields(value.bytes);
    only(parts, [1, 2, 8, 9]);
    const tag = one(parts, 1, 2)?.bytes.toString() ?? '';
    const scalar = one(parts, 2, 5);
    if (scalar) event.scalars.push([tag, scalar.bytes.readFloatLE()]);
    else event.texts.push([tag, textOf(parts)]);
  }
  return event;
}

function textOf(parts: Field[]): string {
  const plugin = one(fields(one(parts, 9, 2)?.bytes ?? Buffer.alloc(0)), 1, 2);
  if (one(fields(plugin?.bytes ?? Buffer.alloc(0)), 1, 2)?.bytes.toString() !== 'text') throw new Error('no text');
  const tensor = fields(one(parts, 8, 2)?.bytes ?? Buffer.alloc(0));
  only(tensor, [1, 2, 8]);
  if (one(tensor, 1, 0)?.value !== 7) throw new Error('a text that is no string');
  return one(tensor, 8, 2)?.bytes.toString() ?? '';
}
