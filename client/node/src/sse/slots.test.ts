import assert from "node:assert/strict";
import { test } from "node:test";

import { Slots } from "./slots.js";

test("counts streams exactly", () => {
  const slots = new Slots({ user: 2, address: 3, all: 4 });
  const gone: number[] = [];
  const take = (user: string, address: string) => {
    const slot = slots.take(user, address, () => gone.push(slot.number));
    return slot;
  };
  const open = ["a", "a", "a", "b", "c"].map((user) => take(user, "x"));
  assert.equal(slots.size, 3, "all are at one address");
  assert.deepEqual(gone, [1, 2], "the user's oldest, and then the oldest of the user with the most");
  open.push(take("d", "y"), take("e", "z"));
  assert.equal(slots.size, 4);
  for (const slot of [...open, ...open]) slots.leave(slot); // one that was displaced or left is left again
  assert.equal(slots.size, 0);
  for (let i = 0; i < 4; i++) take("f", "x");
  assert.equal(slots.size, 2, "nothing was left over at the address");
});

test("displaces the oldest stream of the user with the most, the new one included", () => {
  const slots = new Slots({ user: 9, address: 9, all: 2 });
  const gone: string[] = [];
  for (const user of ["a", "b", "b"]) slots.take(user, "", () => gone.push(user));
  assert.deepEqual(gone, ["b"], "a has fewer streams than b with the new one");
  slots.take("c", "", () => {});
  assert.deepEqual(gone, ["b", "a"], "all have one: the oldest");
});
