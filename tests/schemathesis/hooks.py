"""Checks promises that an OpenAPI document cannot express, and keeps the gremlin harmless.

tests/it/schemathesis.rs runs Schemathesis with this file.
"""

import json

import requests
import schemathesis
from schemathesis.core.parameters import ParameterLocation

PROBLEM = "application/problem+json"
MEMBERS = {
    "type": str,
    "title": str,
    "status": int,
    "detail": str,
    "instance": str,
    "code": str,
    "trace_id": str,
}
MAX_DELAY_MS = 60_000
# Calls get at least this long, so that a slow machine does not answer them with 503.
MIN_DEADLINE_MS = 10_000
# In the year 2286, so that no call is too late.
LATEST_DEADLINE_AT = 9_999_999_999_999
# Below the limit of 32 rules, so that no valid rule is rejected.
KEPT_RULES = 16


def has_another_media_type(case, response):
    """Whether the document describes this error as something else than a problem document.

    A declined charge, for example, returns the payment.
    """
    responses = case.operation.definition.raw.get("responses", {})
    media_types = responses.get(str(response.status_code), {}).get("content", {})
    return bool(media_types) and PROBLEM not in media_types


@schemathesis.check
def errors_are_problem_documents(ctx, response, case):
    if response.status_code < 400 or has_another_media_type(case, response):
        return
    status = response.status_code
    media_type = (response.headers.get("content-type") or [""])[0]
    assert media_type == PROBLEM, f"the content type of {status} is {media_type!r}, not {PROBLEM}"
    if case.method.upper() == "HEAD":
        return
    body = response.json()
    wrong = [name for name, kind in MEMBERS.items() if not isinstance(body.get(name), kind)]
    assert not wrong, f"members are missing or have a wrong type: {', '.join(wrong)}: {body}"
    assert body["status"] == status, f"the document of a {status} has the status {body['status']}"
    trace = (response.headers.get("x-trace-id") or [""])[0]
    assert body["trace_id"] == trace, f"x-trace-id is {trace}, but trace_id is {body['trace_id']}"


@schemathesis.check
def every_response_has_a_trace_id(ctx, response, case):
    trace = (response.headers.get("x-trace-id") or [""])[0]
    assert len(trace) == 32, f"x-trace-id is {trace!r}"


@schemathesis.check
def each_call_of_a_request_batch_has_a_line(ctx, response, case):
    """A malformed batch is rejected as a whole, and an invalid call in its own line."""
    if not case.path.endswith("/batch") or response.status_code != 200:
        return
    lines = [json.loads(line) for line in response.content.splitlines()]
    calls = json.loads(response.request.body)["calls"]
    numbers = sorted(line["call"] for line in lines)
    assert numbers == list(range(len(calls))), f"{len(calls)} calls, but these lines: {lines}"
    if case.meta is not None and case.meta.is_negative_at(ParameterLocation.BODY):
        assert any(line["status"] == 400 for line in lines), f"no call was rejected: {calls}"


def configures_gremlin(case):
    return case.method.upper() == "POST" and "gremlin" in case.path


def calls_of(case):
    """The calls of a request batch that are objects."""
    if not case.path.endswith("/batch") or not isinstance(case.body, dict):
        return []
    calls = case.body.get("calls")
    return [call for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []


@schemathesis.hook
def before_call(context, case, kwargs):
    """Gives each call of a request batch enough time, and makes valid faults harmless.

    A fault would slow or kill the service under test. So the latency switch gets a delay of 0 ms,
    and a rule gets a route that does not exist. Invalid values stay as they are, so that the
    service still has to reject them.
    """
    for call in calls_of(case):
        # `bool` is a subclass of `int`.
        if type(call.get("deadline_ms")) is int and 0 <= call["deadline_ms"] < MIN_DEADLINE_MS:
            call["deadline_ms"] = MIN_DEADLINE_MS
        if type(call.get("deadline_at")) is int and call["deadline_at"] >= 0:
            call["deadline_at"] = max(call["deadline_at"], LATEST_DEADLINE_AT)
    if not configures_gremlin(case) or not isinstance(case.body, dict):
        return
    if "enabled" in case.body:
        delay = case.body.get("delay_ms", 0)
        if isinstance(delay, int) and 0 <= delay <= MAX_DELAY_MS:
            case.body["delay_ms"] = 0
    else:
        route = case.body.get("route", "/")
        if isinstance(route, str) and route.startswith("/"):
            case.body["route"] = "/nowhere"


@schemathesis.hook
def after_call(context, case, response):
    """Removes an old rule for each new one, so that the limit is never reached.

    Some rules always remain, so that requests for a single rule can find one.
    """
    if configures_gremlin(case) and response.status_code == 201:
        rules = f"{case.operation.base_url.rstrip('/')}{case.formatted_path}"
        requests.delete(f"{rules}/{response.json()['id'] - KEPT_RULES}", timeout=5)
