import { clone } from "@bufbuild/protobuf";

import { Source, VerificationErrorSchema } from "../gen/verification/v1/verification_pb.js";
import type { Verification } from "../gen/verification/v1/verification_pb.js";
import type { Comparisons } from "./comparison.js";
import type { Consumer } from "./consumer.js";
import type { Fault } from "./fault.js";
import { erase, fill, historyEntry } from "./fill.js";
import { same, setOutcome } from "./outcome.js";
import type { RetryAnswer } from "./retry.js";
import { Session, compareAge, isNewer } from "./session.js";

/** Entry is one change of any session. */
export interface Entry {
  readonly id: string;
  readonly revision: number;
  /** When it was set, in Unix milliseconds. */
  readonly at: number;
}

/** OpenStream is an open watch. */
export interface OpenStream {
  /** What serves it. */
  readonly replica: object;
  /** The error that must end it. */
  cut: Fault | undefined;
}

/** NameCaller returns the name of a caller by the headers of its call. */
export type NameCaller = (headers: Readonly<Record<string, string | undefined>>) => string;

/** State is the state of a FakeServer. Each change wakes all streams, which then look for something to send. */
export class State {
  readonly sessions = new Map<string, Session>();
  readonly feed: Entry[] = [];
  /** Unix time; a second passes with each change. */
  #clock = Date.UTC(2026, 0, 1) / 1000;

  /** Of resume tokens. */
  epoch = 0;
  /** Heartbeats asked for. */
  beats = 0;
  silent = false;
  /** Links so far. */
  links = 0;
  fail: Fault | undefined;
  readonly failNext: Fault[] = [];
  onRetry: RetryAnswer | undefined;
  nameCaller: NameCaller | undefined;
  readonly comparisons: Comparisons = { outputs: new Map(), answer: undefined };

  readonly consumers = new Map<string, Consumer>();
  /** Consumers so far. */
  incarnations = 0;
  keepLeases = false;
  /** The open watches, and how many there were so far. */
  readonly streams = new Set<OpenStream>();
  opened = 0;

  /** The functions that wake calls. */
  readonly bells = new Set<() => void>();

  /** Wakes all streams. */
  wake(): void {
    for (const ring of this.bells) ring();
  }

  /** Ends the open watches with an error; with a replica, those of it alone. */
  cutStreams(error: Fault, replica?: object): void {
    for (const stream of this.streams) {
      if (replica === undefined || stream.replica === replica) stream.cut ??= error;
    }
    this.wake();
  }

  /** Throws the error with which the next call must fail, if there is one. */
  checkFailure(): void {
    const failure = this.fail ?? this.failNext.shift();
    if (failure !== undefined) throw failure;
  }

  /**
   * Makes v the current state, and returns it. A RetryState in v is kept as it is if source is a webhook; from other sources only its
   * counts are.
   */
  set(v: Verification, source: Source): Verification {
    const life = this.sessions.get(v.sessionId) ?? new Session();
    const last = life.latest;
    const timed = v.updateTime !== undefined && !isSameTime(v, last);
    this.#clock++;
    fill(v, last, this.#clock);
    const carried = v.lastError && clone(VerificationErrorSchema, v.lastError);
    const failed = life.count(v, last);
    erase(v);
    if (source !== Source.WEBHOOK || v.retry === undefined) v.retry = life.retryState(v, last, failed);
    if (last !== undefined && !timed && same(v, last)) return last;
    v.revision = (last?.revision ?? 0) + 1;
    setOutcome(v, last);
    life.revisions.push(v);
    life.history.push(historyEntry(v, carried, source));
    if (v.redaction !== 0) life.redacted ||= v.revision;
    this.sessions.set(v.sessionId, life);
    this.feed.push({ id: v.sessionId, revision: v.revision, at: Date.now() });
    this.wake();
    return v;
  }

  /** Returns the newest session with a reference. */
  newest(reference: string): Session | undefined {
    let newest: Session | undefined;
    for (const life of this.sessions.values()) {
      const [v, found] = [life.latest, newest?.latest];
      if (v?.clientReferenceId === reference && (found === undefined || isNewer(v, found))) newest = life;
    }
    return newest;
  }

  /** Returns the sessions that have the reference of this one, in its account and mode, the newest first. */
  ofPerson(answers: Verification): Session[] {
    const all = [...this.sessions.values()].filter(({ latest: v }) => {
      return v?.clientReferenceId === answers.clientReferenceId && v.account === answers.account && v.livemode === answers.livemode;
    });
    return all.sort((a, b) => compareAge(b.latest as Verification, a.latest as Verification));
  }
}

function isSameTime(v: Verification, last: Verification | undefined): boolean {
  return v.updateTime?.seconds === last?.updateTime?.seconds && v.updateTime?.nanos === last?.updateTime?.nanos;
}
