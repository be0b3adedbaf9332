/**
 * Log-linear latency histogram: 32 buckets per power of two, so a value is told within 1.6 %. Proxy and
 * collector share the bucket layout; on the wire a histogram is sparse: `[bucket, count, bucket, count, …]`.
 */

const subBuckets = 32;
const linear = 64;
/** Values are whole microseconds; above about 71 minutes they fall into the last bucket. */
const maxValue = 2 ** 32 - 1;
export const bucketCount = linear + 26 * subBuckets;

/** Bucket of a latency in microseconds. */
export function bucketOf(microseconds: number): number {
  if (microseconds < linear) return microseconds > 0 ? Math.floor(microseconds) : 0;
  const value = microseconds > maxValue ? maxValue : Math.floor(microseconds);
  const exponent = 31 - Math.clz32(value) - 5;
  return linear + (exponent - 1) * subBuckets + ((value >>> exponent) - subBuckets);
}

/** Lower edge of a bucket, microseconds. */
export function bucketStart(bucket: number): number {
  if (bucket < linear) return bucket;
  const exponent = Math.floor((bucket - linear) / subBuckets) + 1;
  return (((bucket - linear) % subBuckets) + subBuckets) * 2 ** exponent;
}

/** Middle of a bucket, microseconds: what a quantile reports. */
export function bucketMiddle(bucket: number): number {
  return bucket < linear ? bucket : (bucketStart(bucket) + bucketStart(bucket + 1)) / 2;
}

/** Sparse form of dense counts. */
export function encodeHistogram(counts: ArrayLike<number>): number[] {
  const sparse: number[] = [];
  for (let bucket = 0; bucket < counts.length; bucket++) {
    const count = counts[bucket]!;
    if (count > 0) sparse.push(bucket, count);
  }
  return sparse;
}

/** Adds a sparse histogram to dense counts; pairs out of range are ignored. */
export function addHistogram(counts: Uint32Array | Float64Array, sparse: readonly number[]): void {
  for (let i = 0; i + 1 < sparse.length; i += 2) {
    const bucket = sparse[i]!;
    if (bucket >= 0 && bucket < counts.length) counts[bucket]! += sparse[i + 1]!;
  }
}

/** The value below which `share` (0..1) of all samples lie, in microseconds; undefined without samples. */
export function quantile(counts: ArrayLike<number>, share: number): number | undefined {
  let total = 0;
  for (let i = 0; i < counts.length; i++) total += counts[i]!;
  if (total === 0) return undefined;
  const rank = Math.max(1, Math.ceil(share * total));
  let seen = 0;
  for (let bucket = 0; bucket < counts.length; bucket++) {
    seen += counts[bucket]!;
    if (seen >= rank) return bucketMiddle(bucket);
  }
  return bucketMiddle(counts.length - 1);
}
