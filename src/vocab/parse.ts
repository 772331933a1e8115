/** What the lines of .txt and .csv files and the entries of .json files say, as it stands there. */
import { CsvError, parse } from 'csv-parse/sync';
import { messageOf, S3aError } from '../errors.ts';

/** A concept as a file writes it; nothing is checked yet but its type. */
export interface Written {
  name: string;
  synonyms: readonly string[];
  gloss: string;
  parents: readonly string[];
  synset: string;
  /** File and line or entry, for messages. */
  where: string;
}

const MAX_LINE = 10_000;
const BLANK = { synonyms: [], gloss: '', parents: [], synset: '' };

/** Lines of `name`, `name: gloss` or `name<tab>gloss`. Throws S3aError VOCABULARY, also for more than `most` of them. */
export function parseText(text: string, path: string, most: number): Written[] {
  const concepts: Written[] = [];
  let number = 0;
  for (let start = 0; start <= text.length; ) {
    const { line, next } = lineAt(text, start);
    start = next;
    number++;
    const where = `${path}, line ${number}`;
    if (line.length > MAX_LINE) throw new S3aError('VOCABULARY', `${where}: longer than ${MAX_LINE} characters`);
    if (line.trim() === '' || line.startsWith('#')) continue;
    const [, name, gloss] = /^(.*?)(?:\t|:\s)(.*)$/.exec(line) ?? [line, line, ''];
    if (concepts.length === most) throw tooMany(path, most);
    concepts.push({ ...BLANK, name, gloss, where });
  }
  return concepts;
}

/** The line that begins at `start`, ended by \n, \r\n or \r, and where the next one begins. */
function lineAt(text: string, start: number): { line: string; next: number } {
  const breaks = /\r\n|\n|\r/g;
  breaks.lastIndex = start;
  const found = breaks.exec(text);
  if (!found) return { line: text.slice(start), next: text.length + 1 };
  return { line: text.slice(start, found.index), next: breaks.lastIndex };
}

/** Rows under a header with the column `name`. Throws S3aError VOCABULARY, also for more than `most` of them. */
export function parseCsv(text: string, path: string, most: number): Written[] {
  let rows: { record: string[]; info: { lines: number } }[];
  try {
    rows = parse(text, {
      info: true,
      relax_column_count: true,
      skip_empty_lines: true,
      max_record_size: MAX_LINE,
      to: most + 2,
    }) as unknown as typeof rows;
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    throw new S3aError('VOCABULARY', `the vocabulary ${path} is not valid CSV: ${messageOf(error)}`, undefined, {
      cause: error,
    });
  }
  if (rows.length === 0) return [];
  if (rows.length > most + 1) throw tooMany(path, most);
  const header = rows[0].record.map(column => column.trim().toLowerCase());
  if (!header.includes('name')) {
    const columns = header.join(', ').slice(0, 100);
    throw new S3aError(
      'VOCABULARY',
      `the vocabulary ${path} has no column "name", only: ${columns}`,
      header.some(column => /[;\t|]/.test(column))
        ? 'Its columns must be separated by commas.'
        : 'Its first line must name the columns.',
    );
  }
  const columnOf = (...names: string[]): number => header.findIndex(column => names.includes(column));
  const [name, synonyms, gloss, parents, synset] = [
    columnOf('name'),
    columnOf('synonyms'),
    columnOf('gloss'),
    columnOf('parent', 'parents'),
    columnOf('synset'),
  ];
  return rows.slice(1).map(({ record, info }) => ({
    name: record[name] ?? '',
    synonyms: record[synonyms]?.split('|') ?? [],
    gloss: record[gloss] ?? '',
    parents: record[parents]?.split('|') ?? [],
    synset: record[synset] ?? '',
    where: `${path}, line ${info.lines}`,
  }));
}

/** A list of names or of objects with a name. Throws S3aError VOCABULARY, also for more than `most` of them. */
export function parseJson(text: string, path: string, most: number): Written[] {
  let values: unknown;
  try {
    values = JSON.parse(text);
  } catch (error) {
    throw new S3aError('VOCABULARY', `the vocabulary ${path} is not valid JSON: ${messageOf(error)}`, undefined, {
      cause: error,
    });
  }
  if (!Array.isArray(values)) throw new S3aError('VOCABULARY', `the vocabulary ${path} is not a JSON list`);
  if (values.length > most) throw tooMany(path, most);
  return values.map((value: unknown, i) => {
    const where = `${path}, entry ${i + 1}`;
    if (typeof value === 'string') return { ...BLANK, name: value, where };
    if (typeof value !== 'object' || value === null) {
      throw new S3aError('VOCABULARY', `${where}: neither a name nor an object with a name`);
    }
    const { name, gloss = '', synonyms = [], parents = [], synset = '' } = value as Record<string, unknown>;
    if (typeof name !== 'string' || typeof gloss !== 'string' || typeof synset !== 'string')
      throw new S3aError('VOCABULARY', `${where}: name, gloss and synset must be text`);
    if (!isTexts(synonyms) || !isTexts(parents)) {
      throw new S3aError('VOCABULARY', `${where}: synonyms and parents must be lists of text`);
    }
    return { name, gloss, synonyms, parents, synset, where };
  });
}

function tooMany(path: string, most: number): S3aError {
  return new S3aError('VOCABULARY', `the vocabulary ${path} has more than ${most} concepts`);
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every(item => typeof item === 'string');
}
