import type { ChannelInterface } from "@grpc/grpc-js";

/**
 * Is used if the announced limit cannot be read. RFC 9113 recommends a limit of at least 100, and nginx and HAProxy have at least
 * that.
 */
const unknownLimit = 100;

/**
 * Returns how many streams the server or proxy allows on the connection of a channel that is ready, as announced in its SETTINGS
 * (RFC 9113, 6.5.2). HTTP/2 keeps a stream beyond the number waiting in silence.
 *
 * gRPC knows the number and has no way to read it. So this function looks into private fields of grpc-js: a channel of this package
 * has one subchannel, whose transport has Node's session. If another version of grpc-js has other fields, the answer is 100, and a
 * test of this package fails.
 */
export function announcedStreams(channel: ChannelInterface): number {
  const subchannels = property(property(channel, "internalChannel"), "wrappedSubchannels");
  if (!(subchannels instanceof Set)) {
    return unknownLimit;
  }
  for (const wrapper of subchannels as Set<unknown>) {
    const transport = property(property(wrapper, "child"), "transport");
    const settings = property(property(transport, "session"), "remoteSettings");
    const announced = property(settings, "maxConcurrentStreams");
    if (typeof announced === "number") {
      return Math.max(announced, 1);
    }
  }
  return unknownLimit;
}

function property(object: unknown, name: string): unknown {
  return typeof object === "object" && object !== null ? (object as Record<string, unknown>)[name] : undefined;
}

/**
 * Returns how many calls a connection can have. One stream is left for the health watch, and a tenth of all streams for unary
 * calls, which would otherwise wait until a watch ends.
 */
export function room(announced: number, isStream: boolean): number {
  return Math.max(announced - 1 - (isStream ? Math.floor(announced / 10) : 0), 1);
}
