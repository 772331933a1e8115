/** Messages of whatever was thrown. */
import { readFileSync } from 'node:fs';
import { runInNewContext } from 'node:vm';
import { expect, it } from 'vitest';
import { messageOf, S3aError, whyOf } from '../src/errors.ts';

it.each<[string, unknown, string]>([
  ['an error', new Error('broken'), 'broken'],
  ['one of ours', new S3aError('CODE', 'two\n  lines', 'hint'), 'two lines'],
  ['an error of another realm, as under Jest', runInNewContext('new TypeError("not here")'), 'not here'],
  ['a text', 'only text', 'only text'],
  ['nothing', undefined, 'undefined'],
  ['an object', { message: 7 }, '[object Object]'],
])('of %s is one line', (_, thrown, message) => {
  expect(messageOf(thrown)).toBe(message);
  expect(whyOf(thrown)).toBe(message);
});

it('of the system is what it says, without code, call and path', () => {
  try {
    readFileSync('/nowhere/at all');
    expect.unreachable();
  } catch (error) {
    expect(messageOf(error)).toContain("ENOENT: no such file or directory, open '/nowhere/at all'");
    expect(whyOf(error)).toBe('no such file or directory');
  }
});
