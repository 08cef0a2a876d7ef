import type { Verification } from "./gen/verification/v1/verification_pb.js";

/** Update is one change of a watch: a session at one revision. */
export interface Update {
  /** The session at one revision. */
  readonly verification: Verification;
  /**
   * Lets a later watch of the same subject continue after this update. Store it when the update is handled, and pass it as
   * `resumeFrom`. It is opaque, URL-safe, and has at most 2 KiB.
   */
  readonly resumeToken: string;
  /**
   * Means that the service no longer had the changes after the last update. `verification` is the current status. Revisions
   * before it can be missing, and its revision can be lower than one already seen: drop all state that is kept of the subject.
   * `watchAll` never sets it. It ends with a {@link ResumeTokenExpiredError} instead, because the service cannot send the
   * status of all sessions.
   */
  readonly reset: boolean;
}

/** Bookmark is a new resume token without a change. Only a watch with `bookmarks` yields it. */
export interface Bookmark {
  /** Never set: it tells a bookmark from an {@link Update}. */
  readonly verification?: undefined;
  /** See {@link Update.resumeToken}. A program that stores tokens stores this one too, so that its token does not expire. */
  readonly resumeToken: string;
  /** Always false. */
  readonly reset: false;
}
