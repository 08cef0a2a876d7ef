import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";

import { create } from "@bufbuild/protobuf";

import { Status, VerificationSchema } from "./contract.js";
import { linkOf, verificationToJson } from "./json.js";
import { Secret } from "./secret.js";

const verification = create(VerificationSchema, {
  sessionId: "vs_1",
  status: Status.VERIFIED,
  revision: 3,
  createTime: { seconds: 1_790_000_000n },
});

test("a verification in JSON has names of enums and times that can be read", () => {
  assert.deepEqual(verificationToJson(verification), {
    sessionId: "vs_1",
    status: "STATUS_VERIFIED",
    revision: 3,
    createTime: "2026-09-21T14:13:20Z",
  });
});

test("a link in JSON and in a log has no secret", () => {
  const secret = (name: string) => new Secret(`planted_${name}`);
  const link = linkOf({ verification, clientSecret: secret("c"), url: secret("u"), ephemeralKeySecret: secret("e") });
  const encoded = JSON.stringify({ link });
  assert.deepEqual(JSON.parse(encoded), {
    link: { verification: verificationToJson(verification), clientSecret: "[redacted]", url: "[redacted]", ephemeralKeySecret: "[redacted]" },
  });
  assert.doesNotMatch(encoded + inspect(link, { depth: 9, showHidden: true }), /planted/);
  assert.equal(link.url.reveal(), "planted_u");
  assert.deepEqual(Object.keys(link), ["verification", "clientSecret", "url", "ephemeralKeySecret"]);
});
