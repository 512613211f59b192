-- avis build 1: puts the counters of some holders, read from the stream, into a household.
-- KEYS: household. ARGV: generation, number of holders, then per holder: marker, number of
-- fields, then field and value of each. What is already there has moved since and stays.
-- Answers {0, v, created, added}, or {-1} where a newer generation is there.
local key, generation = KEYS[1], tonumber(ARGV[1])
local there = tonumber(redis.call('HGET', key, 'g') or '-1')
if there > generation then return {-1} end
local created = 0
if there < generation then
  redis.call('DEL', key)
  redis.call('HSET', key, 'g', ARGV[1], 'v', 1)
  created = 1
end
local at, added = 3, 0
for _ = 1, tonumber(ARGV[2]) do
  local marker, fields = ARGV[at], tonumber(ARGV[at + 1])
  at = at + 2
  if redis.call('HSETNX', key, marker, 1) == 1 then
    added = added + 1
    for field = 0, fields - 1 do
      redis.call('HSET', key, ARGV[at + 2 * field], ARGV[at + 2 * field + 1])
    end
  end
  at = at + 2 * fields
end
if created == 0 and added > 0 then redis.call('HINCRBY', key, 'v', 1) end
return {0, tonumber(redis.call('HGET', key, 'v')), created, added}
