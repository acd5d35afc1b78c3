-- For wrk: asks for PATH with a random user in place of UID, and prints the figures as one line of JSON. PEOPLE is a
-- file with the users, a line "UID TOKEN" for each; without it they are the numbers below USERS, and have no token.
--   wrk … URL -- PATH USERS [PEOPLE]
local path, users, requests

function init(args)
  path, users = args[1], tonumber(args[2])
  math.randomseed(os.time())
  if not args[3] then return end
  requests = {}
  for line in io.lines(args[3]) do
    local uid, token = line:match("(%S+) (%S+)")
    requests[#requests + 1] = wrk.format("GET", (path:gsub("UID", uid)), {Authorization = "Bearer " .. token})
  end
end

function request()
  if requests then return requests[math.random(#requests)] end
  return wrk.format("GET", (path:gsub("UID", function() return math.random(0, users - 1) end)))
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests": %d, "seconds": %.6f, "p50_ms": %.3f, "p99_ms": %.3f, "errors": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
