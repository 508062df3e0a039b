-- Walks the lines of the file $BENCH_BODIES, one POST each: thread t of $BENCH_THREADS begins at its own part.
local threads = 0
function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

function init(_)
  local headers = { ["Content-Type"] = "application/json" }
  if os.getenv("BENCH_KEY") then headers["Authorization"] = "Bearer " .. os.getenv("BENCH_KEY") end
  requests = {}
  for line in io.lines(os.getenv("BENCH_BODIES")) do
    requests[#requests + 1] = wrk.format("POST", nil, headers, line)
  end
  at = math.floor(#requests * number / tonumber(os.getenv("BENCH_THREADS"))) + tonumber(os.getenv("BENCH_START"))
end

function request()
  at = at + 1
  return requests[at % #requests + 1]
end

function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format('{"requests": %d, "microseconds": %d, "refused": %d, "broken": %d, "p50": %d, "p99": %d}\n',
    summary.requests, summary.duration, errors.status, errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
