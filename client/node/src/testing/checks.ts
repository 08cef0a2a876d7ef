import { Status } from "../gen/verification/v1/verification_pb.js";
import type { AllSessions } from "../gen/verification/v1/verification_pb.js";
import { invalid } from "./fault.js";
import { maxToken } from "./token.js";

// The contract's rules for the fields of requests. Each function throws the error for the caller.

export const sessionIdForm = /^vs_[A-Za-z0-9_]{1,252}$/;
const accountForm = /^acct_[A-Za-z0-9_]{1,250}$/;
const consumerForm = /^[a-z][a-z0-9._-]{0,63}$/;
/** The names of Stripe's API versions. */
const versionForm = /^20\d\d-\d\d-\d\d(\.[a-z]{1,50})?$/;

export function checkSessionId(id: string): void {
  if (!sessionIdForm.test(id)) throw invalid("session_id", "is not a verification session's id");
}

export function checkAccount(account: string): void {
  if (account !== "" && !accountForm.test(account)) throw invalid("account", "is not an account's id");
}

export function checkReference(reference: string): void {
  if (reference === "" || Buffer.byteLength(reference) > 255) throw invalid("client_reference_id", "must have 1 to 255 bytes");
}

export function checkToken(field: string, text: string): void {
  if (Buffer.byteLength(text) > maxToken) throw invalid(field, "is too long");
}

export function checkConsumer(name: string): void {
  if (!consumerForm.test(name)) throw invalid("consumer", "is not a consumer's name");
}

export function checkAllSessions(all: AllSessions): void {
  for (const status of all.statuses) {
    if (!(status in Status) || status === 0)
      throw invalid("all_sessions.statuses", `${Status[status] ?? status} cannot be selected`);
  }
  if (all.consumer !== "" && !consumerForm.test(all.consumer)) throw invalid("all_sessions.consumer", "is not a consumer's name");
  if (all.consumer === "" && all.mustExist) throw invalid("all_sessions.must_exist", "does not go without a consumer");
}

export function checkKeyVersion(version: string): void {
  if (version !== "" && !versionForm.test(version)) throw invalid("ephemeral_key_version", "is not an API version of Stripe");
}

export function checkReturnUrl(text: string): void {
  if (text === "") return;
  const absolute = /^https?:\/\/[^/?#]/i.test(text) && !/[\0-\x1f\x7f]|%(?![0-9a-f]{2})/i.test(text) && URL.canParse(text);
  if (Buffer.byteLength(text) > 2048 || !absolute) {
    throw invalid("return_url", "is not an absolute http or https address of at most 2048 bytes");
  }
}
