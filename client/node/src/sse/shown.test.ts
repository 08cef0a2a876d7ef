import assert from "node:assert/strict";
import { test } from "node:test";

import { fromJson, isFieldSet } from "@bufbuild/protobuf";
import type { DescMessage, MessageShape } from "@bufbuild/protobuf";

import {
  ResolutionSchema,
  RetryStateSchema,
  VerificationErrorSchema,
  VerificationSchema,
} from "../gen/verification/v1/verification_pb.js";
import { shown } from "./shown.js";

test("shows the browser these fields and no others", () => {
  const full = fromJson(VerificationSchema, {
    sessionId: "vs_1",
    status: "STATUS_REQUIRES_INPUT",
    type: "VERIFICATION_TYPE_DOCUMENT",
    lastError: { code: "ERROR_CODE_OTHER", stripeCode: "s", reason: "r\n", category: "ERROR_CATEGORY_SELFIE" },
    clientReferenceId: "c",
    livemode: true,
    createTime: "2026-01-01T00:00:00Z",
    updateTime: "2026-01-02T00:00:00Z",
    revision: 3,
    retry: {
      failedAttempts: 1,
      retriesGranted: 1,
      retriesRemaining: 1,
      allowed: true,
      denial: "RETRY_DENIAL_COOLDOWN",
      nextRetryTime: "2026-01-03T00:00:00Z",
      overrideOpen: true,
    },
    redaction: "REDACTION_PROCESSING",
    supersededBy: "vs_2",
    account: "acct_1",
    stripeStatus: "x",
    stripeType: "y",
    lastVerificationReport: "vr_1",
    settled: true,
    outcomeRevision: 3,
    outcomeId: "o",
    replaces: "vs_0",
    resolution: { kind: "RESOLUTION_KIND_CLOSED", principal: "p", time: "2026-01-04T00:00:00Z" },
  });
  const wantFull = <D extends DescMessage>(schema: D, message: MessageShape<D> | undefined): void => {
    for (const field of schema.fields) {
      const isSet = message !== undefined && isFieldSet(message, field);
      assert(isSet, `${field}: add the new field here, and decide about it in shown and in the Go bridge`);
    }
  };
  wantFull(VerificationSchema, full);
  wantFull(VerificationErrorSchema, full.lastError);
  wantFull(RetryStateSchema, full.retry);
  wantFull(ResolutionSchema, full.resolution);
  assert.equal(
    shown(full),
    '{"sessionId":"vs_1","status":"STATUS_REQUIRES_INPUT","type":"VERIFICATION_TYPE_DOCUMENT",' +
      '"lastError":{"code":"ERROR_CODE_OTHER","reason":"r\\n","category":"ERROR_CATEGORY_SELFIE"},' +
      '"updateTime":"2026-01-02T00:00:00Z","revision":3,' +
      '"retry":{"retriesRemaining":1,"allowed":true,"denial":"RETRY_DENIAL_COOLDOWN","nextRetryTime":"2026-01-03T00:00:00Z","overrideOpen":true},' +
      '"settled":true,"resolution":{"kind":"RESOLUTION_KIND_CLOSED"}}',
  );
});
