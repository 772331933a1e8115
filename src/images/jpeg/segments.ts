/** The segments of a JPEG file before its pixels, and the size that the first frame header says. */

/** A marker with what belongs to it. */
export interface Segment {
  /** Two bytes, 0xff and the kind. */
  readonly marker: number;
  /** What follows its length. */
  readonly body: DataView;
  /** Where in the file it ends. */
  readonly end: number;
}

/** Markers by their names in the standard (ITU-T T.81). */
export const MARKER = {
  SOF0: 0xffc0,
  SOF1: 0xffc1,
  SOF15: 0xffcf,
  DHT: 0xffc4,
  JPG: 0xffc8,
  DAC: 0xffcc,
  RST0: 0xffd0,
  EOI: 0xffd9,
  SOS: 0xffda,
  DQT: 0xffdb,
  DRI: 0xffdd,
  APP0: 0xffe0,
  APP1: 0xffe1,
  APP14: 0xffee,
  APP15: 0xffef,
  COM: 0xfffe,
} as const;

/** Whole segments in their order, the start of the first scan as the last; ends early at anything that is none. */
export function* segments(bytes: Uint8Array): Generator<Segment, void> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  // Behind the two bytes of the start marker.
  for (let at = 2; at + 4 <= bytes.length; ) {
    const [marker, end] = [view.getUint16(at), at + 2 + view.getUint16(at + 2)];
    const isSegment = (marker >= MARKER.SOF0 && marker <= MARKER.APP15) || marker === MARKER.COM;
    // Restarts, start and end of the image have no length.
    const isBare = marker >= MARKER.RST0 && marker <= MARKER.EOI;
    if (!isSegment || isBare || end < at + 4 || end > bytes.length) return;
    yield { marker, body: new DataView(bytes.buffer, bytes.byteOffset + at + 4, end - at - 4), end };
    if (marker === MARKER.SOS) return;
    at = end;
  }
}

export interface JpegSize {
  readonly width: number;
  readonly height: number;
  /** 1 is grey, 3 colour, 4 inks. */
  readonly channels: number;
}

/**
 * What the first frame header says, which is the one that libjpeg decodes: asking libvips costs a second opening of the file.
 *
 * @returns undefined for a file in which anything but whole segments comes before it
 */
export function jpegSize(bytes: Uint8Array): JpegSize | undefined {
  for (const { marker, body } of segments(bytes)) {
    const isTable = marker === MARKER.DHT || marker === MARKER.JPG || marker === MARKER.DAC;
    if (marker > MARKER.SOF15 || isTable) continue;
    if (body.byteLength < 6) return undefined;
    return { height: body.getUint16(1), width: body.getUint16(3), channels: body.getUint8(5) };
  }
  return undefined;
}
