/** TensorBoard's event files: records with checksums (TFRecord), each a protocol-buffer message (event.proto). */
import { Message } from '../engine/proto.ts';

// Castagnoli's polynomial, bits reversed.
const POLYNOMIAL = 0x82f63b78;
const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1;
  return crc >>> 0;
});

/** CRC-32C of bytes. Source: RFC 3720, B.4. */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (crc >>> 8) ^ table[(crc ^ byte) & 255];
  return ~crc >>> 0;
}

/** The checksum as TFRecord writes it: turned by 15 bits and shifted, so that it is none of bytes that hold checksums. */
export function maskedCrc(bytes: Uint8Array): number {
  const crc = crc32c(bytes);
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

/** Bytes as one record of a file. */
export function record(data: Uint8Array): Uint8Array {
  const out = Buffer.alloc(16 + data.length);
  out.writeBigUInt64LE(BigInt(data.length), 0);
  out.writeUInt32LE(maskedCrc(out.subarray(0, 8)), 8);
  out.set(data, 12);
  out.writeUInt32LE(maskedCrc(data), 12 + data.length);
  return out;
}

/** What an event says besides when it was. */
export type EventContent =
  | { readonly kind: 'version' }
  /** What earlier files hold from `step` on counts no more. */
  | { readonly kind: 'start'; readonly step: number }
  | { readonly kind: 'scalars'; readonly step: number; readonly values: readonly (readonly [string, number])[] }
  | { readonly kind: 'text'; readonly step: number; readonly name: string; readonly text: string };

/** The message of an event at `seconds` since 1970. */
export function event(seconds: number, content: EventContent): Uint8Array {
  const message = new Message();
  if (content.kind === 'version') {
    message.string(3, 'brain.Event:2');
  } else {
    // As every writer of these messages, which leave zeros out.
    if (content.step !== 0) message.int(2, content.step);
    if (content.kind === 'start') message.message(7, new Message().int(1, 1));
    else message.message(5, content.kind === 'scalars' ? scalars(content.values) : text(content.name, content.text));
  }
  // The wall time is field 1 and the only double.
  const head = Buffer.alloc(9);
  head[0] = (1 << 3) | 1;
  head.writeDoubleLE(seconds, 1);
  return Buffer.concat([head, message.finish()]);
}

function scalars(values: readonly (readonly [string, number])[]): Message {
  const summary = new Message();
  for (const [tag, value] of values) summary.message(1, new Message().string(1, tag).float(2, value));
  return summary;
}

/** A tensor of one string for the text plug-in, as torch.utils.tensorboard's `add_text` writes it. */
function text(name: string, content: string): Message {
  const shape = new Message().message(2, new Message().int(1, 1));
  const DT_STRING = 7;
  const tensor = new Message().int(1, DT_STRING).message(2, shape).string(8, content);
  const plugin = new Message().message(1, new Message().string(1, 'text'));
  return new Message().message(
    1,
    new Message().string(1, `${name}/text_summary`).message(8, tensor).message(9, plugin),
  );
}
