/** What a slice of images is asked, and its answers: by a message in a thread of its own, by a call when it is small. */
import { type Assigned, Assigner, type AssignStep, type Far } from './assigner.ts';
import { type Located, Seeder, type Trial, type Wanted } from './seeder.ts';
import { ImageSlice } from './slice.ts';

export type SliceRequest =
  | { readonly kind: 'open'; readonly count: number; readonly width: number }
  | { readonly kind: 'append'; readonly block: Float32Array }
  | { readonly kind: 'norms' }
  | { readonly kind: 'row'; readonly index: number }
  | { readonly kind: 'seed' }
  | { readonly kind: 'try'; readonly trial: Trial }
  | { readonly kind: 'locate'; readonly kept: number; readonly wanted: readonly Wanted[] }
  | { readonly kind: 'assign'; readonly step: AssignStep }
  | { readonly kind: 'labels' }
  | { readonly kind: 'farthest'; readonly centres: Float64Array; readonly count: number }
  | { readonly kind: 'close' };

/** The answer to each kind of request. */
export interface SliceAnswers {
  open: undefined;
  append: undefined;
  /** Squared lengths of the rows. */
  norms: Float64Array;
  row: Float32Array;
  seed: undefined;
  try: Float64Array;
  locate: Located[];
  assign: Assigned;
  labels: Int32Array;
  farthest: Far[];
  close: undefined;
}

function empty(): [ImageSlice, Assigner, Seeder] {
  const slice = new ImageSlice(0, 1);
  return [slice, new Assigner(slice), new Seeder(slice)];
}

/** A slice that answers requests, one after the other. */
export function openSlice(): (request: SliceRequest) => Promise<SliceAnswers[keyof SliceAnswers]> {
  let [slice, assigner, seeder] = empty();
  return async request => {
    switch (request.kind) {
      case 'open':
        slice = new ImageSlice(request.count, request.width);
        assigner = new Assigner(slice);
        return undefined;
      case 'append':
        slice.append(request.block);
        return undefined;
      case 'norms':
        return slice.norms;
      case 'row':
        return slice.values(request.index).slice();
      case 'seed':
        seeder = new Seeder(slice);
        return undefined;
      case 'try':
        return seeder.try(request.trial);
      case 'locate':
        seeder.keep(request.kept);
        return request.wanted.map(wanted => seeder.locate(wanted));
      case 'assign':
        return assigner.assign(request.step);
      case 'labels':
        return assigner.labels.slice();
      case 'farthest':
        return assigner.farthest(request.centres, request.count);
      case 'close':
        // Lets go of the images: the thread may serve others.
        slice.close();
        [slice, assigner, seeder] = empty();
        return undefined;
    }
  };
}
