/** The protocols by name: those of public data sets, and those that other parts of the program add. */
import { S3aError } from '../errors.ts';
import type { Protocol } from './protocol.ts';
import { BREEDS } from './sets/breeds.ts';
import { caltech101 } from './sets/caltech-101.ts';
import { cifar100 } from './sets/cifar-100.ts';
import { imagenet1k, imagenet100 } from './sets/imagenet.ts';
import { oxfordPet } from './sets/oxford-pet.ts';
import { stanfordDogs } from './sets/stanford-dogs.ts';

const known = new Map<string, Protocol>();
for (const protocol of [stanfordDogs, imagenet100, imagenet1k, ...BREEDS, caltech101, cifar100, oxfordPet]) {
  known.set(protocol.name, protocol);
}

/** Names of all protocols, those of METHOD §6 first. */
export function protocolNames(): string[] {
  return [...known.keys()];
}

/** Adds a protocol, such as `icons`, whose drawings are no part of src; one of that name is replaced. */
export function registerProtocol(protocol: Protocol): void {
  known.set(protocol.name, protocol);
}

/**
 * The protocol of a name; case, spaces, `-` and `_` do not matter, so that `StanfordDogs` and `ImageNet-1K` are found.
 * @throws S3aError PROTOCOL for an unknown one
 */
export function findProtocol(name: string): Protocol {
  const wanted = plain(name);
  for (const protocol of known.values()) {
    if (plain(protocol.name) === wanted || plain(protocol.title) === wanted) return protocol;
  }
  throw new S3aError(
    'PROTOCOL',
    `there is no protocol ${JSON.stringify(name.slice(0, 100))}`,
    `Known: ${protocolNames().join(', ')}; or give a .json file that describes your own.`,
  );
}

function plain(name: string): string {
  return name.toLowerCase().replace(/[\s_-]/g, '');
}
