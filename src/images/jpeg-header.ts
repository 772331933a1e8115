/** Size and channels of a JPEG file from its frame header: asking libvips for them costs a second opening of the file. */

export interface JpegHeader {
  width: number;
  height: number;
  /** 1 is grey, 3 colour, 4 inks. */
  channels: number;
}

/**
 * The first frame header, which is the one that libjpeg decodes.
 *
 * @returns undefined for a file in which anything but whole segments comes before it
 */
export function jpegHeader(bytes: Uint8Array): JpegHeader | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  // Behind the two bytes of the start marker; a frame header has at least 10 bytes.
  for (let at = 2; at + 10 <= bytes.length; at += 2 + view.getUint16(at + 2)) {
    const marker = view.getUint16(at);
    const isSegment = (marker >= 0xffc0 && marker < 0xfff0) || marker === 0xfffe;
    // Restarts, start and end of the image and of a scan, which have no length or do not belong here.
    const isOther = marker >= 0xffd0 && marker <= 0xffda;
    if (!isSegment || isOther || view.getUint16(at + 2) < 2) return undefined;
    const isFrame = marker <= 0xffcf && marker !== 0xffc4 && marker !== 0xffc8 && marker !== 0xffcc;
    if (isFrame) return { height: view.getUint16(at + 5), width: view.getUint16(at + 7), channels: bytes[at + 9] };
  }
  return undefined;
}
