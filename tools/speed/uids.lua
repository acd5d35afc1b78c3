-- For wrk: asks for PATH with a random user in place of UID, and prints the figures as one line of JSON.
--   wrk … URL -- PATH USERS
local path, users

function init(args)
  path, users = args[1], tonumber(args[2])
  math.randomseed(os.time())
end

function request()
  return wrk.format("GET", (path:gsub("UID", function() return math.random(0, users - 1) end)))
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests": %d, "seconds": %.6f, "p50_ms": %.3f, "p99_ms": %.3f, "errors": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
