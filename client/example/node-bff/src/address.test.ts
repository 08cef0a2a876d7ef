import assert from "node:assert/strict";
import { IncomingMessage } from "node:http";
import { Socket } from "node:net";
import { test } from "node:test";
import { addressOf, networkOf } from "./address.js";

test("the address of the browser is the last one of the proxy's header, or the peer's", () => {
  for (const [secure, header, peer, sent, want] of [
    [false, "", "192.0.2.1", "203.0.113.9", "192.0.2.1"],
    [true, "", "192.0.2.1", "203.0.113.9", ""],
    [true, "X-Forwarded-For", "192.0.2.1", "203.0.113.9, 198.51.100.7", "198.51.100.7"],
    [true, "X-Forwarded-For", "192.0.2.1", "203.0.113.9:80, 198.51.100.7:4711", "198.51.100.7"],
    [true, "X-Forwarded-For", "192.0.2.1", "unknown", "192.0.2.1"],
    [true, "X-Forwarded-For", "192.0.2.1", "", "192.0.2.1"],
  ] as const) {
    const request = new IncomingMessage(Object.defineProperty(new Socket(), "remoteAddress", { value: peer }));
    request.headers["x-forwarded-for"] = sent;
    assert.equal(addressOf(request, header, secure), want, `${header} ${sent} of ${peer}`);
  }
});

test("a /64 network of IPv6 is one address", () => {
  for (const [text, want] of [
    ["1.2.3.4", "1.2.3.4"], [" 1.2.3.4:5 ", "1.2.3.4"], ["::ffff:1.2.3.4", "1.2.3.4"], ["[::ffff:1.2.3.4]:80", "1.2.3.4"],
    ["::1", "0:0:0:0::/64"], ["[::1]:80", "0:0:0:0::/64"], ["2001:db8:1:2:3::4", "2001:db8:1:2::/64"],
    ["2001:0DB8:0001:2::", "2001:db8:1:2::/64"], ["[2001:db8:1:2:3::4]:4711", "2001:db8:1:2::/64"],
    ["2001:db8::1", "2001:db8:0:0::/64"], ["1:2:3:4:5:6:7:8", "1:2:3:4::/64"], ["1::2:3:4:5:6:7", "1:0:2:3::/64"],
    ["64:ff9b::1.2.3.4", "64:ff9b:0:0::/64"], ["fe80::1%eth0", "fe80:0:0:0::/64"],
    ["", ""], ["unknown", ""], ["1.2.3", ""], ["1.2.3.4.5", ""], ["[1.2.3.4", ""], [":80", ""], ["1.2.3.4:x", ""],
  ] as const) assert.equal(networkOf(text), want, text);
});
