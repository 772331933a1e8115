/** Texts cut at the tokens that stand for themselves, before anything else is done with them. */

/** Cuts texts before and after each of some tokens; of several that begin at one place the longest counts. */
export function cutterAt(tokens: Iterable<string>): (text: string) => string[] {
  const longestFirst = [...tokens].filter(token => token !== '').sort((a, b) => b.length - a.length);
  if (longestFirst.length === 0) return text => (text === '' ? [] : [text]);
  const pattern = longestFirst.map(token => token.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('|');
  const cut = new RegExp(`(${pattern})`);
  return text => text.split(cut).filter(part => part !== '');
}
