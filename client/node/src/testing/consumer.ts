import { create } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";

import { ConsumerSchema } from "../gen/verification/v1/feed_pb.js";
import type { AcknowledgeChangesRequest, Consumer as ShownConsumer } from "../gen/verification/v1/feed_pb.js";
import { checkConsumer, checkToken } from "./checks.js";
import { consumerDeleted, fault, retryWait, waiting } from "./fault.js";
import type { Fault } from "./fault.js";
import type { Follower } from "./follow.js";
import { compareText } from "./session.js";
import type { State } from "./state.js";
import { decodeToken, digest, newToken, parseToken } from "./token.js";

/** The contract's number of consumers. */
const maxConsumers = 64;
/** How long a consumer stays busy after its stream was lost with its server, in milliseconds. */
const lease = 15_000;

const kind = "consumer";
const incarnationOf = " incarnation ";

/** Consumer is one named consumer. */
export interface Consumer {
  readonly name: string;
  /** Of its tokens. It ends with the incarnation. */
  readonly subject: string;
  /** Feed entries. */
  acknowledged: number;
  /** When acknowledged rose last, in Unix milliseconds; 0: never. */
  at: number;
  /** The open stream. */
  holder: Follower | undefined;
  /** Busy until then, in Unix milliseconds; see FakeServer.keepLeases. */
  leased: number;
  /** By FakeServer.holdConsumer. */
  held: boolean;
  expired: boolean;
  deleted: boolean;
}

/** Throws the error of a token that is not of this consumer. */
function checkOwn(c: Consumer, text: string): void {
  const subject = decodeToken(text)?.subject;
  if (subject === c.subject) return;
  const [name] = c.subject.split(incarnationOf);
  throw fault(subject?.startsWith(`${name}${incarnationOf}`) ? "CONSUMER_NOT_FOUND" : "RESUME_TOKEN_INVALID");
}

/** Returns whether a text is a token of any consumer. */
function isConsumerToken(text: string): boolean {
  return decodeToken(text)?.subject.startsWith(`${kind} `) ?? false;
}

function isActive(c: Consumer): boolean {
  return c.holder !== undefined || c.held || Date.now() < c.leased;
}

/** Gives f the position of its consumer, which it creates if that is allowed, or throws the error for its caller. */
export function take(state: State, f: Follower, resumeToken: string): void {
  const name = f.filter?.consumer ?? "";
  if (resumeToken !== "" && !isConsumerToken(resumeToken)) throw fault("RESUME_TOKEN_INVALID");
  let c = state.consumers.get(name);
  if (c === undefined) {
    if (f.filter?.mustExist || resumeToken !== "") throw fault("CONSUMER_NOT_FOUND");
    if (!makeRoom(state)) throw fault("TOO_MANY_CONSUMERS");
    const subject = `${digest(kind, name)}${incarnationOf}${++state.incarnations}`;
    c = {
      name,
      subject,
      acknowledged: state.feed.length,
      at: 0,
      holder: undefined,
      leased: 0,
      held: false,
      expired: false,
      deleted: false,
    };
    state.consumers.set(name, c);
  } else {
    if (resumeToken !== "") checkOwn(c, resumeToken);
    if (isActive(c)) throw waiting("CONSUMER_BUSY", "another stream of the consumer is open", retryWait);
    if (c.expired && resumeToken === "") throw fault("CONSUMER_EXPIRED");
  }
  f.consumer = c;
  f.at = newToken(c.subject, { entries: c.acknowledged });
  f.sent = c.acknowledged;
}

/** Returns whether there is room for another consumer. An expired one without a stream gives way. */
function makeRoom(state: State): boolean {
  if (state.consumers.size < maxConsumers) return true;
  for (const [name, c] of state.consumers) {
    if (c.expired && !isActive(c)) return state.consumers.delete(name);
  }
  return false;
}

/** Gives the consumer of a stream back. */
export function release(state: State, f: Follower): void {
  if (f.consumer === undefined || f.consumer.holder !== f) return;
  f.consumer.holder = undefined;
  if (state.keepLeases) f.consumer.leased = Date.now() + lease;
}

/** Returns the error that ends the stream of a consumer. */
export function lost(f: Follower): Fault | undefined {
  if (f.consumer?.deleted) return consumerDeleted();
  return f.consumer !== undefined && f.consumer.holder !== f ? fault("CONSUMER_BUSY") : undefined;
}

/** Acknowledges what the filter passed over, if everything that was sent is acknowledged. */
export function passOver(f: Follower): void {
  if (f.consumer !== undefined && f.consumer.acknowledged >= f.sent) rise(f.consumer, f.at.entries);
}

function rise(c: Consumer, entries: number): void {
  if (entries <= c.acknowledged) return;
  c.acknowledged = entries;
  c.at = Date.now();
}

/** Stores how far a consumer has come, or throws the error for the caller. */
export function acknowledge(state: State, request: AcknowledgeChangesRequest): void {
  checkConsumer(request.consumer);
  checkToken("resume_token", request.resumeToken);
  if (!isConsumerToken(request.resumeToken)) throw fault("RESUME_TOKEN_INVALID");
  const c = state.consumers.get(request.consumer);
  if (c === undefined) throw fault("CONSUMER_NOT_FOUND");
  checkOwn(c, request.resumeToken);
  const at = parseToken(request.resumeToken, c.subject);
  if (at?.epoch !== state.epoch) throw fault("RESUME_TOKEN_EXPIRED");
  rise(c, at.entries);
  c.expired = false;
  state.wake();
}

/** Returns the consumers by name. */
export function listConsumers(state: State): ShownConsumer[] {
  const all = [...state.consumers.values()].sort((a, b) => compareText(a.name, b.name));
  return all.map((c) => {
    const oldest = state.feed[c.acknowledged];
    const shown = create(ConsumerSchema, {
      name: c.name,
      active: isActive(c),
      expired: c.expired,
      pendingChanges: BigInt(state.feed.length - c.acknowledged),
      lag: durationFromMs(oldest === undefined ? 0 : Date.now() - oldest.at),
    });
    if (c.at !== 0) shown.acknowledgeTime = timestampFromMs(c.at);
    return shown;
  });
}

/** Deletes a consumer. It does nothing for an unknown name. */
export function deleteConsumer(state: State, name: string): void {
  const c = state.consumers.get(name);
  if (c === undefined) return;
  c.deleted = true;
  state.consumers.delete(name);
  state.wake();
}
