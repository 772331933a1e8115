/** Listing images: order, odd names, links and loops, what cannot be read, lists. */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { asOrdinaryUser } from '../../test/images.ts';
import { listImages } from './source.ts';

let folder: string;

beforeEach(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 's3a-source-')));
  await chmod(folder, 0o755);
});
afterEach(() => rm(folder, { recursive: true }));

async function touch(...names: string[]): Promise<void> {
  for (const name of names) {
    await mkdir(join(folder, name, '..'), { recursive: true });
    await writeFile(join(folder, name), '');
  }
}

describe('listImages', () => {
  it('lists by extension, in byte order, with odd names intact', async () => {
    const odd = [
      'a b.jpg',
      'new\nline.png',
      '🐈.webp',
      'é.gif',
      'Z.JPEG',
      'a/z.tiff',
      'a.png',
      'ü/1.bmp',
      '~.avif',
      '#1.tif',
    ];
    await touch(...odd, 'notes.txt', 'movie.mp4', '.hidden.jpg', '.git/x.png', 'jpg');
    const { root, files, skipped } = await listImages(folder);
    expect(root).toBe(folder);
    // "a b" < "a." < "a/" by bytes; upper before lower case; multi-byte characters last.
    expect(files).toEqual([
      '#1.tif',
      'Z.JPEG',
      'a b.jpg',
      'a.png',
      'a/z.tiff',
      'new\nline.png',
      '~.avif',
      'é.gif',
      'ü/1.bmp',
      '🐈.webp',
    ]);
    expect(skipped).toEqual([]);
  });

  it('stays in the folder when not recursive', async () => {
    await touch('a.jpg', 'sub/b.jpg');
    expect((await listImages(folder, { recursive: false })).files).toEqual(['a.jpg']);
  });

  it('lists each folder once, whatever loops lead to it', async () => {
    await touch('a/1.jpg', 'b/2.jpg');
    await symlink('..', join(folder, 'a', 'up'));
    await symlink(folder, join(folder, 'b', 'top'));
    await symlink('self', join(folder, 'self'));
    await symlink('b', join(folder, 'c'));
    const { files, skipped } = await listImages(folder);
    expect(files).toEqual(['a/1.jpg', 'b/2.jpg']);
    expect(skipped.map(({ file_name }) => file_name)).toEqual(['self']);
  });

  it('follows links to files and to folders outside', async () => {
    await touch('in/1.jpg', 'out/2.jpg');
    await symlink(join(folder, 'out'), join(folder, 'in', 'linked'));
    await symlink(join(folder, 'out', '2.jpg'), join(folder, 'in', 'link.jpg'));
    expect((await listImages(join(folder, 'in'))).files).toEqual(['1.jpg', 'link.jpg', 'linked/2.jpg']);
  });

  it('reports what cannot be read, and goes on', async () => {
    await touch('a.jpg', 'closed/b.jpg');
    await symlink('nowhere', join(folder, 'broken.png'));
    await mkdir(join(folder, 'folder.jpg'));
    execFileSync('mkfifo', [join(folder, 'pipe.png')]);
    await chmod(join(folder, 'closed'), 0);
    const { files, skipped } = await asOrdinaryUser(() => listImages(folder));
    expect(files).toEqual(['a.jpg']);
    expect(skipped.map(({ file_name }) => file_name)).toEqual(['broken.png', 'closed', 'pipe.png']);
    expect(skipped[0].reason).toBe('cannot be read (no such file or directory)');
    expect(skipped[1].reason).toMatch(/folder cannot be read \(permission denied/);
    expect(skipped[2].reason).toBe('not a regular file');
  });

  it('reports pictures in formats that are not read', async () => {
    await touch('a.jfif', 'b.HEIC', 'c.cr2', 'd.svg', 'e.mp4');
    expect(await listImages(folder)).toMatchObject({
      files: ['a.jfif'],
      skipped: [
        { file_name: 'b.HEIC', reason: 'heic files are not read; convert it to JPEG or PNG' },
        { file_name: 'c.cr2' },
        { file_name: 'd.svg' },
      ],
    });
    const alone = listImages(join(folder, 'b.HEIC'));
    expect((await alone).files).toEqual(['b.HEIC']);
    await rm(join(folder, 'a.jfif'));
    await expect(listImages(folder)).rejects.toMatchObject({
      message: `no image found in ${folder} (3 not used, the first: ${folder}/b.HEIC: heic files are not read; convert it to JPEG or PNG)`,
    });
  });

  it('leaves out run folders that lie among the images', async () => {
    const run = ['config.json', 'manifest.json', 'images.jsonl', 'overview.png', 'sub/x.png'];
    await touch('1.jpg', ...run.map(name => `runs/one/${name}`), 'not-a-run/manifest.json', 'not-a-run/2.jpg');
    expect((await listImages(folder)).files).toEqual(['1.jpg', 'not-a-run/2.jpg']);
    // Asked for by name it is a folder as any other.
    expect((await listImages(join(folder, 'runs', 'one'))).files).toEqual(['overview.png', 'sub/x.png']);
  });

  it.skipIf(process.platform !== 'linux')('says of names that are not UTF-8 that they are none', async () => {
    await touch('a.jpg');
    writeFileSync(Buffer.concat([Buffer.from(`${folder}/`), Buffer.from([0x62, 0xff]), Buffer.from('.jpg')]), '');
    const { files, skipped } = await listImages(folder);
    expect(files).toEqual(['a.jpg']);
    expect(skipped).toEqual([{ file_name: 'b\ufffd.jpg', reason: 'its name is not UTF-8; rename it' }]);
  });

  it('never takes what is no regular file, also where it is named', async () => {
    await touch('1.jpg');
    execFileSync('mkfifo', [join(folder, 'pipe.jpg')]);
    await writeFile(join(folder, 'list.txt'), 'pipe.jpg\n1.jpg\n');
    const pipe = { file_name: 'pipe.jpg', reason: 'not a regular file' };
    expect(await listImages(join(folder, 'list.txt'))).toMatchObject({ files: ['1.jpg'], skipped: [pipe] });
    await expect(listImages(join(folder, 'pipe.jpg'))).rejects.toMatchObject({ code: 'EMPTY' });
  });

  it('takes files, folders and lists together, relative to the folder that holds them all', async () => {
    await touch('one/1.jpg', 'two/deep/2.jpg', 'three/3.any');
    await writeFile(join(folder, 'list.txt'), '\uFEFFone/1.jpg\r\n\r\nthree/3.any\none/absent.jpg\n');
    const { root, files, skipped } = await listImages([join(folder, 'two'), join(folder, 'list.txt')]);
    expect(root).toBe(folder);
    expect(files).toEqual(['one/1.jpg', 'three/3.any', 'two/deep/2.jpg']);
    expect(skipped.map(({ file_name }) => file_name)).toEqual(['one/absent.jpg']);
  });

  it('says of a list in UTF-16 that it is one', async () => {
    await touch('1.jpg');
    await writeFile(join(folder, 'list.txt'), '\uFEFF1.jpg\r\n', 'utf16le');
    await expect(listImages(join(folder, 'list.txt'))).rejects.toThrow(`the list ${folder}/list.txt is not in UTF-8`);
  });

  it('gives one file its folder as root', async () => {
    await touch('sub/1.jpg');
    expect(await listImages(join(folder, 'sub', '1.jpg'))).toEqual({
      root: join(folder, 'sub'),
      files: ['1.jpg'],
      skipped: [],
    });
  });

  it('says in one line that there is nothing', async () => {
    await expect(listImages(folder)).rejects.toMatchObject({
      code: 'EMPTY',
      message: `no image found in ${folder}`,
      hint: expect.stringContaining('jpg, jpeg, png') as string,
    });
    await touch('sub/1.jpg');
    await expect(listImages(folder, { recursive: false })).rejects.toMatchObject({
      hint: expect.stringContaining('Sub-folders are not searched') as string,
    });
    await expect(listImages([])).rejects.toMatchObject({ code: 'EMPTY' });
    await expect(listImages(join(folder, 'absent'))).rejects.toMatchObject({
      code: 'NOT_FOUND',
      message: expect.stringContaining(basename(folder)) as string,
    });
  });
});
