/** A thread that finds the names nearest to blocks of images. */
import { NameTable } from './nearest-block.ts';
import { serve } from './threads.ts';

/** Names to compare with from now on, or images to find names for. */
export type NearestRequest =
  | { readonly width: number; readonly prototypes: Float32Array<ArrayBuffer> }
  | { readonly images: Float32Array; readonly top: number }
  | 'close';

let table: NameTable | undefined;

serve(async message => {
  const request = message as NearestRequest;
  if (request === 'close') {
    table = undefined;
    return undefined;
  }
  if ('images' in request) return table!.search(request.images, request.top);
  table ??= new NameTable(request.width);
  return table.set(request.prototypes);
});
