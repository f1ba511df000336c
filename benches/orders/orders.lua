-- wrk sends orders: for PROD-001, or with PRODUCTS=n for a random one of the products "1" to "n".
-- PAUSE_MS is the mean pause of each connection before its next order. A long pause gives a nearly
-- constant rate. At the end the script prints its figures as one line of JSON. Times are in
-- microseconds.
local products = tonumber(os.getenv("PRODUCTS") or "0")
local pause = tonumber(os.getenv("PAUSE_MS") or "0")
local headers = { ["Content-Type"] = "application/json" }
local threads = 0

function setup(thread)
  threads = threads + 1
  thread:set("number", threads)
end

local function order(product)
  return wrk.format("POST", "/orders", headers, '{"product_id":"' .. product .. '","quantity":1}')
end

function init()
  math.randomseed(os.time() * 64 + number)
  hot = order("PROD-001")
end

function request()
  if products == 0 then return hot end
  return order(math.random(products))
end

-- wrk pauses only if this function exists.
if pause > 0 then
  function delay() return math.random(0, 2 * pause) end
end

function done(summary, latency)
  local errors = summary.errors
  print(string.format(
    '{"seconds":%.6f,"requests":%d,"refused":%d,"broken":%d,"p50":%d,"p90":%d,"p99":%d,"max":%d}',
    summary.duration / 1e6, summary.requests, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50), latency:percentile(90), latency:percentile(99), latency.max))
end
