/** The thread of one slice of a clustering's images. */
import { openSlice, type SliceRequest } from './kmeans-requests.ts';
import { serve } from './threads.ts';

const answer = openSlice();
serve(request => answer(request as SliceRequest));
