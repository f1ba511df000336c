"""What Valerix promises beyond what an OpenAPI document can say, and how its gremlin is kept from spoiling the test."""

import json

import requests
import schemathesis
from schemathesis.core.parameters import ParameterLocation

PROBLEM = "application/problem+json"
MEMBERS = {"type": str, "title": str, "status": int, "detail": str, "instance": str, "code": str, "trace_id": str}


def is_described_otherwise(case, response):
    """A declined charge is answered with the payment, as the description of that status says."""
    described = case.operation.definition.raw.get("responses", {}).get(str(response.status_code), {})
    media_types = described.get("content", {})
    return bool(media_types) and PROBLEM not in media_types


@schemathesis.check
def errors_are_problem_documents(ctx, response, case):
    if response.status_code < 400 or is_described_otherwise(case, response):
        return
    media_type = (response.headers.get("content-type") or [""])[0]
    assert media_type == PROBLEM, f"{response.status_code} is {media_type or 'without a type'}, not {PROBLEM}"
    if case.method.upper() == "HEAD":
        return
    body = response.json()
    wrong = [name for name, kind in MEMBERS.items() if not isinstance(body.get(name), kind)]
    assert not wrong, f"a problem without {', '.join(wrong)}: {body}"
    assert body["status"] == response.status_code, f"status {body['status']} in a {response.status_code}"
    trace = (response.headers.get("x-trace-id") or [""])[0]
    assert body["trace_id"] == trace, f"trace_id {body['trace_id']}, but the header says {trace}"


@schemathesis.check
def every_answer_has_a_trace_id(ctx, response, case):
    trace = (response.headers.get("x-trace-id") or [""])[0]
    assert len(trace) == 32, f"x-trace-id is {trace!r}"


@schemathesis.check
def each_call_of_a_bundle_has_its_line(ctx, response, case):
    """What is wrong is refused: the bundle as a whole, or in it the call."""
    if not case.path.endswith("/batch") or response.status_code != 200:
        return
    lines = [json.loads(line) for line in response.content.splitlines()]
    calls = json.loads(response.request.body)["calls"]
    assert sorted(line["call"] for line in lines) == list(range(len(calls))), f"{len(calls)} calls: {lines}"
    if case.meta is not None and case.meta.is_negative_at(ParameterLocation.BODY):
        assert any(line["status"] == 400 for line in lines), f"all taken: {calls}"


def sets_the_gremlin(case):
    return case.method.upper() == "POST" and "gremlin" in case.path


def calls_of(case):
    calls = case.body.get("calls") if case.path.endswith("/batch") and isinstance(case.body, dict) else None
    return [call for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []


@schemathesis.hook
def before_call(context, case, kwargs):
    """What has no time is answered with 503, and so is what has a little on a slow machine: calls in bundles get enough.

    A gremlin that does as it is told would slow or kill the very service under test: its rules hit no route that there
    is, and its switch delays by nothing. What it would refuse stays as refusable as it was."""
    for call in calls_of(case):
        if type(call.get("deadline_ms")) is int and 0 <= call["deadline_ms"] < 10000:
            call["deadline_ms"] = 10000
    if not sets_the_gremlin(case) or not isinstance(case.body, dict):
        return
    if "enabled" in case.body:
        if isinstance(case.body.get("delay_ms", 0), int) and 0 <= case.body.get("delay_ms", 0) <= 60000:
            case.body["delay_ms"] = 0
    elif isinstance(case.body.get("route", "/"), str) and case.body.get("route", "/").startswith("/"):
        case.body["route"] = "/nowhere"


@schemathesis.hook
def after_call(context, case, response):
    """There is room for 32 rules: each makes an older one leave, so that there is always one to be asked for."""
    if sets_the_gremlin(case) and response.status_code == 201:
        rules = f"{case.operation.base_url.rstrip('/')}{case.formatted_path}"
        requests.delete(f"{rules}/{response.json()['id'] - 16}", timeout=5)
