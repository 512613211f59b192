-- avis open_budget 1: puts what the stream says is used of a budget.
-- KEYS: budget. ARGV: generation, used. Answers {0, v, created}, or {-1} where a newer one is there.
local there = tonumber(redis.call('HGET', KEYS[1], 'g') or '-1')
if there > tonumber(ARGV[1]) then return {-1} end
if there < tonumber(ARGV[1]) then
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'g', ARGV[1], 'v', 1, 'used', ARGV[2])
  return {0, 1, 1}
end
return {0, tonumber(redis.call('HGET', KEYS[1], 'v')), 0}
