-- avis spend 1: moves a budget in its one place, while nothing of it is leased or for giving back.
-- KEYS: budget. ARGV: generation, author, the author's count of calls, expected version (-1: any),
-- change. Answers {code, v}: 0 done, 2 conflict, 3 not of this generation, 4 done when first asked.
local key, mine = KEYS[1], 'd' .. ARGV[2]
local g, v, used, last = unpack(redis.call('HMGET', key, 'g', 'v', 'used', mine))
if g ~= ARGV[1] then return {3, 0} end
v = tonumber(v)
if tonumber(last or '0') >= tonumber(ARGV[3]) then return {4, v} end
if ARGV[4] ~= '-1' and tonumber(ARGV[4]) ~= v then return {2, v} end
redis.call('HINCRBY', key, 'used', ARGV[5])
redis.call('HSET', key, mine, ARGV[3])
return {0, redis.call('HINCRBY', key, 'v', 1)}
