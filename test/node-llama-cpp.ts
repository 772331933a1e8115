/** Where tests find node-llama-cpp, which is optional: beside s3a, or in the folder that S3A_TEST_NODE_LLAMA_CPP names. */
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

/** Imports the package; rejects where there is none. */
export function importNodeLlamaCpp(): Promise<unknown> {
  const folder = process.env.S3A_TEST_NODE_LLAMA_CPP;
  if (folder === undefined) return import('node-llama-cpp' as string);
  const entry = createRequire(join(folder, 'package.json')).resolve('node-llama-cpp');
  return import(pathToFileURL(entry).href);
}
