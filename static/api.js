import { $ } from "./dom.js";

const TOKEN = "gremlin-token";

/** An answer that is an error: RFC 9457, or whatever a proxy in between made of it. */
export class Problem extends Error {
  constructor(status, body) {
    super(body.detail ?? body.title ?? `The answer was ${status}.`);
    Object.assign(this, { status, code: body.code ?? "", errors: body.errors ?? [], orderId: body.order_id, traceId: body.trace_id });
  }
}

/** No answer at all, or not in time: what was done is unknown. */
export class Unanswered extends Error {}

export async function call(method, path, { body, headers = {}, timeout = 4000 } = {}) {
  let response;
  let text;
  try {
    response = await fetch(path, {
      method,
      headers: body === undefined ? headers : { "content-type": "application/json", ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(timeout),
    });
    text = await response.text();
  } catch {
    throw new Unanswered("The order service does not answer.");
  }
  const isJson = (response.headers.get("content-type") ?? "").includes("json");
  const value = isJson ? parse(text) : text;
  if (!response.ok) throw new Problem(response.status, isJson ? value : {});
  return { status: response.status, value };
}

// A proxy may cut an answer short.
function parse(text) {
  try {
    return text === "" ? {} : JSON.parse(text);
  } catch {
    return {};
  }
}

export const get = async (path, options) => (await call("GET", path, options)).value;

function bearer() {
  const token = sessionStorage.getItem(TOKEN);
  return token ? { authorization: `Bearer ${token}` } : {};
}

export const gremlinGet = (path) => get(path, { headers: bearer() });

/** For what somebody asked for: a missing token is asked for too, once. */
export async function gremlinCall(method, path, body) {
  try {
    return (await call(method, path, { body, headers: bearer() })).value;
  } catch (problem) {
    if (problem.status !== 401 || !(await askForToken())) throw problem;
    return (await call(method, path, { body, headers: bearer() })).value;
  }
}

let asking;

/** Several calls at once, as of "stop everything", share one dialog. */
export function askForToken() {
  asking ??= showTokenDialog().finally(() => (asking = undefined));
  return asking;
}

function showTokenDialog() {
  const dialog = $("token-dialog");
  const field = $("token-form").elements.token;
  field.value = "";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      const given = dialog.returnValue === "use" && field.value !== "";
      if (given) sessionStorage.setItem(TOKEN, field.value);
      field.value = "";
      resolve(given);
    }, { once: true });
  });
}
