// HTTP calls to the order service, which forwards calls to the other services, and the tokens of
// the gremlin and of the operators.
import { $, setText } from "./dom.js";

/** The order service comes first: the page reaches the other services only through it. */
export const SERVICES = ["order-service", "inventory-service", "payment-service"];

/** The path of a service's resource on the order service. */
export const pathOf = (service, resource) =>
  service === SERVICES[0] ? `/${resource}` : `/services/${service}/${resource}`;

/** Each token is sent with the calls that need it, and with no others. */
const TOKENS = {
  gremlin: {
    key: "gremlin-token",
    title: "Gremlin token",
    use: "Injecting faults requires a token.",
  },
  operator: {
    key: "operator-token",
    title: "Operator token",
    use: "Cancelling, fulfilling and retrying orders and delivering stock require a token.",
  },
};
const DEFAULT_TIMEOUT_MS = 4000;
/** Longer than two calls to other services take at the default step timeout of 2 s. */
const OPERATOR_TIMEOUT_MS = 10_000;

/** An error response: a problem document (RFC 9457), or the error page of a proxy. */
export class Problem extends Error {
  constructor(status, body) {
    super(body.detail ?? body.title ?? `The response status was ${status}.`);
    this.status = status;
    this.code = body.code ?? "";
    this.errors = body.errors ?? [];
    this.orderId = body.order_id;
    this.traceId = body.trace_id;
  }
}

/** A key that names one action, so that a repetition of its request does nothing twice. */
export const uniqueKey = () => crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`;

/** No response, or none in time: the outcome of the call is unknown. */
export class NoResponse extends Error {}

/** Whether the request may have been carried out although it has failed. */
export const isOutcomeUnknown = (error) =>
  !(error instanceof Problem)
  || (error.status >= 500 && (error.status !== 503 || error.code === "outcome-unknown"));

/** Says why an operator's request was not carried out. */
export function describeRefusal(error) {
  if (error.status === 401) return "The token is missing or wrong. Nothing was changed.";
  const fields = (error.errors ?? []).map(({ field, detail }) => `${field} ${detail}`);
  return fields.join("; ") || error.message;
}

export async function call(method, path, { body, headers = {}, timeout, keepalive } = {}) {
  let response;
  let text;
  try {
    response = await fetch(path, {
      method,
      headers: body === undefined ? headers : { "content-type": "application/json", ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
      keepalive,
      signal: AbortSignal.timeout(timeout ?? DEFAULT_TIMEOUT_MS),
    });
    text = await response.text();
  } catch {
    throw new NoResponse("The order service does not respond.");
  }
  const isJson = (response.headers.get("content-type") ?? "").includes("json");
  const value = isJson ? parseJson(text) : text;
  if (!response.ok) throw new Problem(response.status, isJson ? value : {});
  return { status: response.status, value };
}

// A proxy may truncate a response.
function parseJson(text) {
  try {
    return text === "" ? {} : JSON.parse(text);
  } catch {
    return {};
  }
}

export const get = async (path, options) => (await call("GET", path, options)).value;

function tokenHeader(kind) {
  const token = sessionStorage.getItem(TOKENS[kind].key);
  return token ? { authorization: `Bearer ${token}` } : {};
}

/** If the token is missing or wrong, asks for it and retries once. */
async function callWithToken(kind, method, path, options) {
  const send = async () =>
    (await call(method, path, { ...options, headers: tokenHeader(kind) })).value;
  try {
    return await send();
  } catch (problem) {
    if (problem.status !== 401 || !(await askForToken(kind))) throw problem;
    return send();
  }
}

export const gremlinGet = (path) => get(path, { headers: tokenHeader("gremlin") });

export const gremlinCall = (method, path, body, options = {}) =>
  callWithToken("gremlin", method, path, { body, ...options });

/** For the routes that need the operators' token, if there is one. */
export const operatorPost = (path, body) =>
  callWithToken("operator", "POST", path, { body, timeout: OPERATOR_TIMEOUT_MS });

const openTokenDialogs = {};
let lastTokenDialog = Promise.resolve();

/**
 * Concurrent calls share one dialog for each kind of token, and dialogs follow each other. Resolves
 * to whether the user entered a token.
 */
export function askForToken(kind) {
  if (!openTokenDialogs[kind]) {
    lastTokenDialog = lastTokenDialog.then(() => showTokenDialog(kind));
    openTokenDialogs[kind] = lastTokenDialog.finally(() => delete openTokenDialogs[kind]);
  }
  return openTokenDialogs[kind];
}

function showTokenDialog(kind) {
  const { key, title, use } = TOKENS[kind];
  const dialog = $("token-dialog");
  const field = $("token-form").elements.token;
  setText($("token-title"), title);
  setText($("token-use"), use);
  field.value = "";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      const hasToken = dialog.returnValue === "use" && field.value !== "";
      if (hasToken) sessionStorage.setItem(key, field.value);
      field.value = "";
      resolve(hasToken);
    }, { once: true });
  });
}
