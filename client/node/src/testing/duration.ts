import type { Duration } from "@bufbuild/protobuf/wkt";

/** The range of a Duration in seconds: about 10,000 years (google/protobuf/duration.proto). */
const maxSeconds = 315_576_000_000n;
/** Longer durations count as this long: Go's longest one, 292 years. */
const maxNanos = 2n ** 63n - 1n;

/** Returns a duration in nanoseconds, at most 292 years, or undefined if it is invalid. */
export function durationNanos(d: Duration): bigint | undefined {
  const [seconds, nanos] = [d.seconds, BigInt(d.nanos)];
  const mixed = (seconds > 0n && nanos < 0n) || (seconds < 0n && nanos > 0n);
  if (seconds < -maxSeconds || seconds > maxSeconds || nanos <= -1_000_000_000n || nanos >= 1_000_000_000n || mixed)
    return undefined;
  const all = seconds * 1_000_000_000n + nanos;
  return all > maxNanos ? maxNanos : all < -maxNanos ? -maxNanos : all;
}
