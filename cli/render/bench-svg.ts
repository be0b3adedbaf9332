/** The percentiles of `mesh bench` as a picture: latency over the share of requests, which thins out towards the slowest. */
import type { BenchReport, ModeReport } from '../bench/report.ts';
import { milliseconds } from './bench.ts';

const [width, height] = [800, 440];
const plot = { left: 70, right: 770, top: 70, bottom: 370 };
const nines = [50, 90, 99, 99.9, 99.99];
const colors = { without: '#6b7280', mesh: '#2563eb' };

/** 50 % is 0.3 decades from the left, 99.99 % is four. */
const across = (percent: number): number =>
  plot.left + ((plot.right - plot.left) * Math.min(4, -Math.log10(1 - percent / 100))) / 4;

const xml = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');

/** The round number of a 1-2-5 series that is at least as large. */
function roundUp(value: number): number {
  const unit = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((factor) => factor * unit).find((one) => one >= value) ?? 10 * unit;
}

export function renderSvg(report: BenchReport): string {
  const { without, mesh, deployment, namespace, port, path, rate, connections, rounds, round_seconds } = report;
  // The curve ends before the very slowest where there are too few requests for its last part to mean anything.
  const shown = (mode: ModeReport) => mode.latencies.filter(({ percent }) => mode.requests * (1 - percent / 100) >= 1);
  const most = Math.max(...[without, mesh].flatMap((mode) => shown(mode).map(({ ms }) => ms)), 0.001);
  const step = roundUp(most / 5);
  const top = step * Math.ceil(most / step);
  const up = (ms: number): number => plot.bottom - ((plot.bottom - plot.top) * ms) / top;
  const text = (x: number, y: number, anchor: string, content: string, more = ''): string =>
    `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}"${more}>${xml(content)}</text>`;
  const line = (x1: number, y1: number, x2: number, y2: number): string =>
    `<line x1="${x1.toFixed(1)}" y1="${y1.toFixed(1)}" x2="${x2.toFixed(1)}" y2="${y2.toFixed(1)}" stroke="#e5e7eb"/>`;
  const curve = (mode: ModeReport, color: string): string => {
    const points = shown(mode).map(({ percent, ms }) => `${across(percent).toFixed(1)},${up(ms).toFixed(1)}`);
    return `<polyline points="${points.join(' ')}" fill="none" stroke="${color}" stroke-width="2"/>`;
  };
  const rows = Array.from({ length: Math.round(top / step) + 1 }, (_, index) => index * step).map(
    (ms) => line(plot.left, up(ms), plot.right, up(ms)) + text(plot.left - 8, up(ms) + 4, 'end', milliseconds(ms)),
  );
  const columns = nines.map(
    (percent) =>
      line(across(percent), plot.top, across(percent), plot.bottom) +
      text(across(percent), plot.bottom + 20, 'middle', `${percent}%`),
  );
  const load = `${rate} requests/s over ${connections} connections, ${rounds} rounds of ${round_seconds} s`;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12" fill="#111827">
<rect width="${width}" height="${height}" fill="#ffffff"/>
${text(plot.left, 28, 'start', `deploy/${deployment} in namespace ${namespace}, port ${port}, GET ${path}`, ' font-size="16"')}
${text(plot.left, 50, 'start', load)}
${text(plot.right, 28, 'end', 'without the mesh', ` fill="${colors.without}"`)}
${text(plot.right, 46, 'end', 'with the mesh', ` fill="${colors.mesh}"`)}
${rows.join('\n')}
${columns.join('\n')}
${curve(without, colors.without)}
${curve(mesh, colors.mesh)}
${text((plot.left + plot.right) / 2, plot.bottom + 44, 'middle', 'share of requests answered within')}
</svg>
`;
}
