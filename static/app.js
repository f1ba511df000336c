// Texts from users and services only ever become text nodes, never markup.
const REFRESH_MS = 5000;
const $ = (id) => document.getElementById(id);

const element = (name, text, className = "") => {
  const node = document.createElement(name);
  node.textContent = text;
  node.className = className;
  return node;
};

const getJson = async (path) => {
  const response = await fetch(path, { headers: { accept: "application/json" } });
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.json();
};

const tone = { CONFIRMED: "good", FAILED: "bad" };
const toneOf = (status) => tone[status] ?? "wait";

async function showHealth() {
  const health = await getJson("/health");
  const entries = Object.entries({ [health.service]: health.status, ...health.dependencies });
  const good = ["healthy", "connected", "reachable"];
  $("health").replaceChildren(...entries.map(([name, state]) => {
    const ok = good.includes(state);
    return element("li", `${ok ? "●" : "▲"} ${name}: ${state}`, ok ? "good" : "bad");
  }));
}

async function showSla() {
  const sla = await getJson("/sla");
  const red = sla.status === "red";
  $("sla").textContent = `${red ? "▲" : "●"} SLA ${sla.status}: ${sla.average_ms} ms on average, ${sla.requests} orders in ${sla.window_seconds} s`;
  $("sla").className = red ? "bad" : "good";
}

async function showOrders() {
  const { orders } = await getJson("/orders?limit=20");
  $("orders").replaceChildren(...orders.map((order) => {
    const row = document.createElement("tr");
    row.append(
      element("td", new Date(order.created_at).toLocaleTimeString()),
      element("td", order.product_id),
      element("td", order.quantity),
      element("td", order.status, toneOf(order.status)),
      element("td", order.failure_reason ?? ""),
      element("td", (order.trace_id ?? "").slice(0, 8)),
    );
    return row;
  }));
}

async function place(event) {
  event.preventDefault();
  const form = new FormData(event.target);
  const body = JSON.stringify({ product_id: form.get("product_id"), quantity: Number(form.get("quantity")) });
  const answer = $("answer");
  answer.className = "";
  answer.textContent = "ordering …";
  const started = performance.now();
  try {
    const response = await fetch("/orders", { method: "POST", headers: { "content-type": "application/json" }, body });
    const result = await response.json();
    const took = Math.round(performance.now() - started);
    answer.textContent = `${response.status} after ${took} ms: ${result.message ?? result.detail}`;
    answer.className = response.status === 201 ? "good" : response.ok ? "wait" : "bad";
  } catch (error) {
    answer.textContent = `The order service does not answer (${error.message}).`;
    answer.className = "bad";
  }
  refresh();
}

async function refresh() {
  const results = await Promise.allSettled([showHealth(), showSla(), showOrders()]);
  if (results[0].status === "rejected") {
    $("health").replaceChildren(element("li", "▲ order-service: does not answer", "bad"));
  }
}

$("place").addEventListener("submit", place);
refresh();
setInterval(refresh, REFRESH_MS);
