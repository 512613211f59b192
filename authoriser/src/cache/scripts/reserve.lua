-- avis reserve 1: moves all counters of one operation in one household, or none.
-- KEYS: household. ARGV: generation, expected version (-1: any), '1' where nothing is built from
-- the stream (anonymous), operation, nonce of this commit, authorisation, step, now and horizon in
-- seconds, '1' where the change before must be of this commit too, then field and change of each
-- movement.
-- Answers {code, v}: 0 done, 1 exists, 2 conflict, 3 not of this generation, 4 done when first asked.
local key = KEYS[1]
local g, v, writer = unpack(redis.call('HMGET', key, 'g', 'v', 'w'))
if g ~= ARGV[1] then
  if ARGV[3] ~= '1' or tonumber(g or '-1') > tonumber(ARGV[1]) then return {3, 0} end
  redis.call('DEL', key)
  redis.call('HSET', key, 'g', ARGV[1], 'v', 0)
  v = 0
end
v = tonumber(v)
local operation, authorisation = 'o' .. ARGV[4], 's' .. ARGV[6]
local before = redis.call('HGET', key, operation)
if before then
  if string.match(before, '^%S+') == ARGV[5] then return {4, v} end
  return {1, v}
end
local last = redis.call('HGET', key, authorisation)
if last and tonumber(string.match(last, '^%d+')) >= tonumber(ARGV[7]) then return {2, v} end
if ARGV[2] ~= '-1' and tonumber(ARGV[2]) ~= v then return {2, v} end
if ARGV[10] == '1' and writer ~= ARGV[5] then return {2, v} end
for at = 11, #ARGV, 2 do redis.call('HINCRBY', key, ARGV[at], ARGV[at + 1]) end
redis.call('HSET', key, 'w', ARGV[5], operation, ARGV[5] .. ' ' .. ARGV[8], authorisation, ARGV[7] .. ' ' .. ARGV[8])
v = redis.call('HINCRBY', key, 'v', 1)
if v % 64 == 0 then
  local oldest = tonumber(ARGV[8]) - tonumber(ARGV[9])
  local all = redis.call('HGETALL', key)
  for at = 1, #all, 2 do
    local kind = string.sub(all[at], 1, 1)
    if kind == 'o' or kind == 's' then
      if tonumber(string.match(all[at + 1], '%d+$')) < oldest then redis.call('HDEL', key, all[at]) end
    end
  end
end
return {0, v}
