"""What the server does for us in one go each, in Lua; nothing comes between the lines of a script.

What is forgotten by its tags is not looked for: each tag has a mark, a random text that every value set with it carries
along. Forgetting drops the mark, and a value whose marks are not those of the moment is none.

Limits are the generic cell rate algorithm (ITU-T I.371) by the server's clock: a key holds its theoretical arrival
time, in seconds since `START`, so that a double still tells 15 nanoseconds.
"""

from __future__ import annotations

import hashlib

import attrs

START = 1_700_000_000
"""Seconds of the Unix epoch from which arrival times are counted."""


@attrs.frozen
class Script:
    """A script, and the name under which the server remembers it."""

    text: str
    sha: str = attrs.field(
        init=False,
        default=attrs.Factory(lambda self: hashlib.sha1(self.text.encode()).hexdigest(), takes_self=True),  # noqa: S324
    )


PROBE = Script("redis.call('SET', KEYS[1], ARGV[1], 'PX', 60000) redis.call('UNLINK', KEYS[1]) return ARGV[1]")
"""Write something, and answer ARGV: a server that is full, a replica, closed to us, or none at all does not do that."""

GET = Script("""
local kept = redis.pcall('HGETALL', KEYS[1])
local value = false
for field = 1, #kept, 2 do
  if kept[field] == 'value' then
    value = kept[field + 1]
  elseif redis.pcall('GET', kept[field]) ~= kept[field + 1] then
    redis.call('UNLINK', KEYS[1])
    return false
  end
end
return value
""")
"""KEYS: the value's. Answers the value, or nothing where there is none, or one of its tags was forgotten."""

SET = Script("""
local ttl = tonumber(ARGV[2])
redis.call('SET', KEYS[1], '')  -- refused where the server is full: after a deletion nothing would be
redis.call('UNLINK', KEYS[1])
for tag = 2, #KEYS do
  local mark = redis.pcall('GET', KEYS[tag])
  if type(mark) ~= 'string' then
    mark = ARGV[3]
    redis.call('SET', KEYS[tag], mark, 'PX', ARGV[2])
  elseif redis.call('PTTL', KEYS[tag]) < ttl then
    redis.call('PEXPIRE', KEYS[tag], ARGV[2])
  end
  redis.call('HSET', KEYS[1], KEYS[tag], mark)
end
redis.call('HSET', KEYS[1], 'value', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
""")
"""KEYS: the value's, its tags'. ARGV: the value, how many ms to keep it, a mark for tags that have none."""

DROP = Script("redis.call('UNLINK', KEYS[1])")
"""KEYS: a value's, or a tag's."""

_DEBT = f"""
local time = redis.call('TIME')
local now = time[1] - {START} + time[2] / 1e6
local function debt_of(key)
  local arrival = redis.pcall('GET', key)
  return type(arrival) == 'string' and (tonumber(arrival) or now) - now or 0
end
local function owe(key, debt)
  if debt > 0 then
    redis.call('SET', key, string.format('%.9f', now + debt), 'PX', string.format('%.0f', debt * 1000 + 1000))
  else
    redis.call('UNLINK', key)
  end
end
"""

TAKE = Script(
    _DEBT
    + """
local rate, burst, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local queued, most, back = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local debt = math.min(math.max(debt_of(KEYS[1]) - back, 0), burst / rate)
local left, lent = burst - debt * rate, 0
local allowed = cost <= left + 1e-3
if allowed then
  left = math.max(left - cost, 0)
  lent = math.min(left, queued)
  lent = lent + math.max(0, math.min(most, math.floor((left - lent) / 10)))
  left = left - lent
end
if back > 0 or (allowed and cost + lent > 0) then
  owe(KEYS[1], (burst - left) / rate)
end
return {allowed and 1 or 0, tostring(left), tostring(lent)}
"""
)
"""KEYS: the budget's. ARGV: rate, burst, cost; what others here wait for, what to lend beyond that at most, and the
seconds that are given back first. Answers whether the cost was taken, what is left, and what is lent besides.
"""

GIVE_BACK = Script(
    _DEBT
    + """
for each = 1, #KEYS do
  local debt = debt_of(KEYS[each])
  if debt > 0 then
    owe(KEYS[each], debt - tonumber(ARGV[each]))
  end
end
"""
)
"""KEYS: budgets'. ARGV: for each of them the seconds that are given back."""
