// HTTP calls to the order service, which forwards calls to the other services, and the gremlin's
// token.
import { $ } from "./dom.js";

/** The order service comes first: the page reaches the other services only through it. */
export const SERVICES = ["order-service", "inventory-service", "payment-service"];

/** The path of a service's resource on the order service. */
export const pathOf = (service, resource) =>
  service === SERVICES[0] ? `/${resource}` : `/services/${service}/${resource}`;

const TOKEN_KEY = "gremlin-token";
const DEFAULT_TIMEOUT_MS = 4000;

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

/** No response, or none in time: the outcome of the call is unknown. */
export class NoResponse extends Error {}

export async function call(method, path, { body, headers = {}, timeout } = {}) {
  let response;
  let text;
  try {
    response = await fetch(path, {
      method,
      headers: body === undefined ? headers : { "content-type": "application/json", ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
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

function tokenHeader() {
  const token = sessionStorage.getItem(TOKEN_KEY);
  return token ? { authorization: `Bearer ${token}` } : {};
}

export const gremlinGet = (path) => get(path, { headers: tokenHeader() });

/** For actions of the user: if the token is missing or wrong, asks for it and retries once. */
export async function gremlinCall(method, path, body) {
  try {
    return (await call(method, path, { body, headers: tokenHeader() })).value;
  } catch (problem) {
    if (problem.status !== 401 || !(await askForToken())) throw problem;
    return (await call(method, path, { body, headers: tokenHeader() })).value;
  }
}

let openTokenDialog;

/** Concurrent calls share one dialog. Resolves to whether the user entered a token. */
export function askForToken() {
  openTokenDialog ??= showTokenDialog().finally(() => (openTokenDialog = undefined));
  return openTokenDialog;
}

function showTokenDialog() {
  const dialog = $("token-dialog");
  const field = $("token-form").elements.token;
  field.value = "";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      const hasToken = dialog.returnValue === "use" && field.value !== "";
      if (hasToken) sessionStorage.setItem(TOKEN_KEY, field.value);
      field.value = "";
      resolve(hasToken);
    }, { once: true });
  });
}
