"""The Lua scripts of the Redis consumer.

Spec: transports#2.8
"""

from __future__ import annotations

from typing import Final

__all__ = ["GIVE_BACK", "TAKE"]

TAKE: Final = r"""
-- Takes items from the queues and records each as delivered, in one step: no item is ever outside both.
-- A client that tracks what it reads gets notice of the next item when fewer than the limit were there.
-- KEYS[1 .. n]   lists, in the order of consumption (all queues at the first priority step, then at the next)
-- KEYS[n + 1]    unacked_index, sorted set: tag by time of delivery
-- KEYS[n + 2]    unacked, hash: tag -> [item, exchange, routing key] as JSON
-- ARGV[1]        how many items at most
-- ARGV[2]        now, in seconds
-- ARGV[3]        first part of the tags
-- ARGV[4]        number of queues to be served in turn within a step; 0: each list is emptied before the next
-- ARGV[5]        1: record; 0: take only
-- ARGV[6]        number of the list that an earlier BRPOP has taken an item from; 0: none
-- ARGV[7]        that item
-- ARGV[7 + i]    queue of list i, as JSON text
-- Returns        a flat list: tag, number of the list, item, tag, …
local lists = #KEYS - 2
local index, unacked = KEYS[lists + 1], KEYS[lists + 2]
local limit = tonumber(ARGV[1])
local turns = tonumber(ARGV[4])
local records = ARGV[5] == '1'
local out = {}
local taken = 0

local function keep(list, item)
  taken = taken + 1
  local tag = ARGV[3] .. taken
  if records then
    redis.call('ZADD', index, ARGV[2], tag)
    -- The default exchange and the queue's name: restored, it comes back here and nowhere else.
    redis.call('HSET', unacked, tag, '[' .. item .. ', "", ' .. ARGV[7 + list] .. ']')
  end
  out[#out + 1] = tag
  out[#out + 1] = list
  out[#out + 1] = item
end

if ARGV[6] ~= '0' then
  keep(tonumber(ARGV[6]), ARGV[7])
end
if turns == 0 then
  turns = 1
end
local first = 1
while first <= lists and taken < limit do
  local last = math.min(first + turns - 1, lists)
  local found = true
  while found and taken < limit do
    found = false
    for list = first, last do
      if taken < limit then
        local item = redis.call('RPOP', KEYS[list])
        if item then
          found = true
          keep(list, item)
        end
      end
    end
  end
  first = last + 1
end
if taken < limit then
  for list = 1, lists do
    redis.call('LLEN', KEYS[list])
  end
end
return out
"""

GIVE_BACK: Final = r"""
-- Puts one delivered item back into its queues, unless somebody else has settled or restored it meanwhile.
-- KEYS[1]        unacked_index
-- KEYS[2]        unacked
-- KEYS[3 ..]     lists to put it into
-- ARGV[1]        tag
-- ARGV[2]        the item, marked as redelivered
-- ARGV[3]        1: to the end that is consumed next; 0: to the far end
-- ARGV[4]        1: it is recorded; 0: there are no records
-- Returns        1, or 0 when it was settled already
if ARGV[4] == '1' then
  redis.call('ZREM', KEYS[1], ARGV[1])
  if redis.call('HDEL', KEYS[2], ARGV[1]) == 0 then
    return 0
  end
end
local push = ARGV[3] == '1' and 'RPUSH' or 'LPUSH'
for i = 3, #KEYS do
  redis.call(push, KEYS[i], ARGV[2])
end
return 1
"""
