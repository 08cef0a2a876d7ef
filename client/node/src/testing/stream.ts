import type { ServerWritableStream } from "@grpc/grpc-js";

import { Doorbell } from "../doorbell.js";
import type { AllSessions, WatchStatusRequest, WatchStatusResponse } from "../gen/verification/v1/verification_pb.js";
import { lost, release } from "./consumer.js";
import { durationNanos } from "./duration.js";
import { invalid } from "./fault.js";
import { follow, isSettled, pending, responseOf } from "./follow.js";
import type { Follower } from "./follow.js";
import type { OpenStream, State } from "./state.js";

/** The contract's limits of a heartbeat, in milliseconds. */
const minHeartbeat = 5_000;
const maxHeartbeat = 300_000;
/** For a watch with a filter or a consumer that asks for none, in milliseconds. */
const selectiveHeartbeat = 60_000;

/** Stream is one open watch. */
interface Stream extends OpenStream {
  readonly follower: Follower;
  readonly untilSettled: boolean;
  /** In milliseconds; undefined: none. */
  readonly heartbeat: number | undefined;
  /** A heartbeat is due. */
  due: boolean;
  /** The heartbeats asked for that the stream has seen. */
  beats: number;
}

type Call = ServerWritableStream<WatchStatusRequest, WatchStatusResponse>;

/** Serves one WatchStatus of a replica until the caller leaves, or the watch is done. It throws the error that ends the stream. */
export async function serveWatch(state: State, replica: object, call: Call): Promise<void> {
  const stream = openStream(state, replica, call.request);
  const bell = new Doorbell();
  const drained = new Doorbell(); // of its own: a change that comes meanwhile must still end the wait for changes
  let beat: NodeJS.Timeout | undefined;
  state.bells.add(bell.ring);
  call.on("drain", drained.ring);
  for (const event of ["cancelled", "close"]) call.on(event, bell.ring).on(event, drained.ring);
  try {
    while (!call.cancelled) {
      const { responses, done } = look(state, stream);
      for (const response of responses) {
        while (call.writableNeedDrain && !call.cancelled) await drained.wait();
        call.write(response);
      }
      if (done) return;
      if (beat === undefined || responses.length > 0) beat = restart(beat, stream, bell);
      await bell.wait();
    }
  } finally {
    clearTimeout(beat);
    state.bells.delete(bell.ring);
    release(state, stream.follower);
    state.streams.delete(stream);
    state.wake();
  }
}

/** Restarts the timer of the next heartbeat. */
function restart(beat: NodeJS.Timeout | undefined, stream: Stream, bell: Doorbell): NodeJS.Timeout | undefined {
  clearTimeout(beat);
  if (stream.heartbeat === undefined) return undefined;
  return setTimeout(() => {
    stream.due = true;
    bell.ring();
  }, stream.heartbeat);
}

/** Returns the stream of a new watch, or throws the error for its caller. */
function openStream(state: State, replica: object, request: WatchStatusRequest): Stream {
  state.checkFailure();
  const all = request.subject.case === "allSessions" ? request.subject.value : undefined;
  let heartbeat = isSelective(all) ? selectiveHeartbeat : undefined;
  if (request.heartbeat !== undefined) {
    const nanos = durationNanos(request.heartbeat);
    if (nanos === undefined || nanos <= 0n) throw invalid("heartbeat", "is no duration above 0; leave it out for none");
    heartbeat = Math.min(Math.max(Number(nanos / 1_000_000n), minHeartbeat), maxHeartbeat);
  }
  const follower = follow(state, request);
  const { untilSettled } = request;
  const stream: Stream = { replica, cut: undefined, follower, untilSettled, heartbeat, due: false, beats: state.beats };
  state.streams.add(stream);
  state.opened++;
  state.wake();
  return stream;
}

function isSelective(all: AllSessions | undefined): boolean {
  return all !== undefined && (all.outcomesOnly || all.statuses.length > 0 || all.consumer !== "");
}

/** Returns the responses that a stream must send now, and whether it is done then, or throws the error that ends it. */
function look(state: State, stream: Stream): { responses: WatchStatusResponse[]; done: boolean } {
  const f = stream.follower;
  const end = stream.cut ?? state.fail ?? lost(f);
  if (end !== undefined) throw end;
  if (state.silent) return { responses: [], done: false };
  f.at.epoch = state.epoch;
  const responses = pending(state, f);
  if (responses.length === 0 && (stream.due || stream.beats !== state.beats)) responses.push(responseOf(f.at));
  stream.due = false;
  stream.beats = state.beats;
  return { responses, done: stream.untilSettled && isSettled(state, f) };
}
