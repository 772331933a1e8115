/** ZIP archives for tests, right ones and such as no program writes. */
import { crc32, deflateRawSync } from 'node:zlib';

export interface ZipPart {
  name: string;
  data: Uint8Array;
  /** 0 stored (default), 8 deflated. */
  method?: number;
  /** What the directory says instead of the truth. */
  claim?: { size?: number; compressed?: number; header?: number; method?: number; flags?: number };
  /** Keep the sizes and the offset in a ZIP64 field. */
  zip64?: boolean;
  /** Bytes of padding in the local header, as PyTorch aligns its tensors. */
  padding?: number;
}

/** An archive of these parts; `zip64` adds ZIP64's end record, `end` writes over fields of the last record. */
export function zipOf(
  parts: readonly ZipPart[],
  { zip64 = false, end = {}, tail = '' }: { zip64?: boolean; end?: Record<number, number>; tail?: string } = {},
): Buffer {
  const bodies: Buffer[] = [];
  const directory: Buffer[] = [];
  let at = 0;
  for (const { name, data, method = 0, claim = {}, padding = 0, zip64: wide = false } of parts) {
    const body = method === 8 ? deflateRawSync(data) : Buffer.from(data);
    const label = Buffer.from(name);
    const local = Buffer.alloc(30);
    local.writeUInt32LE(0x04034b50);
    local.writeUInt16LE(claim.method ?? method, 8);
    local.writeUInt16LE(label.length, 26);
    local.writeUInt16LE(padding, 28);
    const [size, compressed, header] = [claim.size ?? data.length, claim.compressed ?? body.length, claim.header ?? at];
    const extra = Buffer.alloc(wide ? 28 : 0);
    if (wide) {
      extra.writeUInt16LE(1);
      extra.writeUInt16LE(24, 2);
      for (const [i, value] of [size, compressed, header].entries()) extra.writeBigUInt64LE(BigInt(value), 4 + 8 * i);
    }
    const central = Buffer.alloc(46);
    central.writeUInt32LE(0x02014b50);
    central.writeUInt16LE(claim.flags ?? 0, 8);
    central.writeUInt16LE(claim.method ?? method, 10);
    central.writeUInt32LE(crc32(data), 16);
    central.writeUInt32LE(wide ? 0xffffffff : compressed, 20);
    central.writeUInt32LE(wide ? 0xffffffff : size, 24);
    central.writeUInt16LE(label.length, 28);
    central.writeUInt16LE(extra.length, 30);
    central.writeUInt32LE(wide ? 0xffffffff : header, 42);
    directory.push(Buffer.concat([central, label, extra]));
    const entry = Buffer.concat([local, label, Buffer.alloc(padding), body]);
    bodies.push(entry);
    at += entry.length;
  }
  const listed = Buffer.concat(directory);
  const last = Buffer.alloc(22);
  last.writeUInt32LE(0x06054b50);
  last.writeUInt16LE(zip64 ? 0xffff : parts.length, 10);
  last.writeUInt32LE(zip64 ? 0xffffffff : listed.length, 12);
  last.writeUInt32LE(zip64 ? 0xffffffff : at, 16);
  last.writeUInt16LE(tail.length, 20);
  for (const [offset, value] of Object.entries(end)) last.writeUInt32LE(value, Number(offset));
  const wideEnd = Buffer.alloc(zip64 ? 76 : 0);
  if (zip64) {
    wideEnd.writeUInt32LE(0x06064b50);
    wideEnd.writeBigUInt64LE(BigInt(parts.length), 32);
    wideEnd.writeBigUInt64LE(BigInt(listed.length), 40);
    wideEnd.writeBigUInt64LE(BigInt(at), 48);
    wideEnd.writeUInt32LE(0x07064b50, 56);
    wideEnd.writeBigUInt64LE(BigInt(at + listed.length), 64);
  }
  return Buffer.concat([...bodies, listed, wideEnd, last, Buffer.from(tail)]);
}
