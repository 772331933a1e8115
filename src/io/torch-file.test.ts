import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type ExpectedTensor, tensorFileCases } from '../../test/tensor-file.cases.ts';
import { openTorchFile } from './torch-file.ts';

const goldens = fileURLToPath(new URL('../../test/goldens/io/torch/', import.meta.url));
const golden = JSON.parse(readFileSync(join(goldens, 'golden.json'), 'utf8')) as Record<
  string,
  Record<string, ExpectedTensor>
>;

for (const [name, tensors] of Object.entries(golden)) {
  if (name.endsWith('.pt')) tensorFileCases(name, () => openTorchFile(join(goldens, name)), tensors);
}
