/** Where the package lies, whether it runs from its TypeScript source or from dist/: files that tsc does not copy are found there. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { S3aError } from '../errors.ts';
import { INSTALL_HINT } from '../worker-url.ts';

/** The path of a file of the package, given from its root with slashes. Throws S3aError INSTALL when it is not there. */
export function packageFile(path: string): string {
  // The nearest package.json above this module is the package's own: dist/ has none.
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json')) && dirname(folder) !== folder) folder = dirname(folder);
  const found = join(folder, path);
  if (!existsSync(found)) throw new S3aError('INSTALL', `${found} is missing from the package`, INSTALL_HINT);
  return found;
}
