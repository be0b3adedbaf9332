/** What single figures make together. */

/** Of sorted numbers that below which a share (0 to 1) of them lies; NaN where there are none. */
export function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}

/** The one in the middle; between the two where there are two. NaN where there are none. */
export function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  return (quantile(sorted, 0.5) + sorted[sorted.length >> 1]!) / 2;
}
