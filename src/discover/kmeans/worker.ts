/** The thread of one slice of a clustering's images. */

import { serve } from '../threads.ts';
import { openSlice, type SliceRequest } from './requests.ts';

const answer = openSlice();
serve(request => answer(request as SliceRequest));
