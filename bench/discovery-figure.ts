/** The reliability diagram of docs/discovery.md, as SVG. */
import { calibrationError, poolTrust } from './discovery-scores.ts';
import type { Measured } from './discovery-tables.ts';

const SIZE = 320;
const LEFT = 48;
const TOP = 16;
const BELOW = 44;

/** Accuracy of a method's labels by their confidence, pooled over all draws; the area of a dot is its share of the labels. */
export function reliabilityFigure(measured: readonly Measured[], method: string): string {
  const judged = measured.filter(row => row.method === method && row.group === 'whole' && row.trust);
  const { bins } = poolTrust(judged.map(row => row.trust!));
  const total = bins.reduce((sum, { count }) => sum + count, 0);
  const x = (share: number): string => (LEFT + SIZE * share).toFixed(1);
  const y = (share: number): string => (TOP + SIZE * (1 - share)).toFixed(1);
  const ticks = [0, 0.2, 0.4, 0.6, 0.8, 1].flatMap(tick => [
    `<path class="grid" d="M${x(tick)} ${y(0)}V${y(1)}M${x(0)} ${y(tick)}H${x(1)}"/>`,
    `<text x="${x(tick)}" y="${TOP + SIZE + 16}" text-anchor="middle">${tick}</text>`,
    `<text x="${LEFT - 8}" y="${(Number(y(tick)) + 4).toFixed(1)}" text-anchor="end">${tick}</text>`,
  ]);
  const dots = bins
    .filter(({ count }) => count > 0)
    .map(({ count, confidence, right }) => {
      const radius = (2 + 28 * Math.sqrt(count / total)).toFixed(1);
      return `<circle cx="${x(confidence / count)}" cy="${y(right / count)}" r="${radius}"/>`;
    });
  const width = LEFT + SIZE + 24;
  const height = TOP + SIZE + BELOW;
  const title = `Confidence and accuracy of ${total} labels, calibration error ${(100 * calibrationError(bins)).toFixed(1)} %`;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">
<title>${title}</title>
<style>text{font:12px sans-serif;fill:#444}.grid{stroke:#ddd;fill:none}.even{stroke:#888;stroke-dasharray:4 4;fill:none}circle{fill:#2a6fb0;fill-opacity:.55}</style>
<rect width="${width}" height="${height}" fill="#fff"/>
${ticks.join('\n')}
<path class="even" d="M${x(0)} ${y(0)}L${x(1)} ${y(1)}"/>
${dots.join('\n')}
<text x="${x(0.5)}" y="${height - 8}" text-anchor="middle">confidence</text>
<text transform="translate(12 ${y(0.5)}) rotate(-90)" text-anchor="middle">accuracy</text>
</svg>
`;
}
