-- avis leave 1: takes a recipient who moved, with its own counters and points, out of a household.
-- KEYS: household. ARGV: generation, recipient.
-- Answers {code, v}: 0 done, 3 not of this generation.
local key, who = KEYS[1], ARGV[2]
if redis.call('HGET', key, 'g') ~= ARGV[1] then return {3, 0} end
redis.call('HDEL', key, 'b' .. who)
local counter, points = '|r' .. who .. '|', 'p|' .. who .. '|'
for _, field in ipairs(redis.call('HKEYS', key)) do
  local is_counter = string.sub(field, 1, 2) == 'c|' and string.find(field, counter, 1, true)
  if is_counter or string.sub(field, 1, #points) == points then redis.call('HDEL', key, field) end
end
return {0, redis.call('HINCRBY', key, 'v', 1)}
