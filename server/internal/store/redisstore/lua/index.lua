-- Adds a session to the index of its reference.
--
-- KEYS  1 index of the reference
-- ARGV  1 session id  2 score: Stripe's creation time  3 members kept
-- Returns {newest, moved}, each "1" or "0": whether the session is the newest of the reference, and whether it has
-- just become the newest.

local newest, moved = add(KEYS[1], ARGV[1], ARGV[2], ARGV[3])
return {newest and '1' or '0', moved and '1' or '0'}
