-- wrk sends orders to ORDER_PATH, each for a random one of the products "1" to "PRODUCTS". At the
-- end the script prints its figures as one line of JSON. Times are in microseconds.
local path = os.getenv("ORDER_PATH")
local products = tonumber(os.getenv("PRODUCTS"))
local headers = { ["Content-Type"] = "application/json" }

function init()
  math.randomseed(os.time())
end

function request()
  local body = '{"product_id":"' .. math.random(products) .. '","quantity":1}'
  return wrk.format("POST", path, headers, body)
end

function done(summary, latency)
  local errors = summary.errors
  print(string.format('{"seconds":%.6f,"failed":%d,"p50":%d,"p99":%d}',
    summary.duration / 1e6,
    errors.status + errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
