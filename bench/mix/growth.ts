/** How memory went over time: its slope and its largest value once the first minutes are over. */

export interface MemorySample {
  /** Since the load began. */
  seconds: number;
  /** Bytes. */
  rss: number;
  private: number;
}

export interface Growth {
  first_mb: number;
  last_mb: number;
  max_mb: number;
  /** Of the straight line through all samples (least squares). */
  mb_per_hour: number;
}

/** @throws Error where fewer than two samples are left after `from` seconds */
export function growth(samples: readonly MemorySample[], field: 'rss' | 'private', from: number): Growth {
  const points = samples.filter((one) => one.seconds >= from).map((one) => [one.seconds / 3600, one[field] / 2 ** 20]);
  if (points.length < 2) throw new Error(`only ${points.length} samples after the first ${from} s`);
  const mean = (index: 0 | 1): number => points.reduce((sum, point) => sum + point[index]!, 0) / points.length;
  const [middleX, middleY] = [mean(0), mean(1)];
  let [above, below] = [0, 0];
  for (const [x, y] of points) {
    above += (x! - middleX) * (y! - middleY);
    below += (x! - middleX) ** 2;
  }
  const values = points.map(([, y]) => y!);
  return {
    first_mb: values[0]!,
    last_mb: values.at(-1)!,
    max_mb: Math.max(...values),
    mb_per_hour: above / below,
  };
}
