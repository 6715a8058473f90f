"""A check for schemathesis: a request that openapi.json allows is refused only
by a rule that a schema cannot say. Each rule is the start of a refusal's
reason, behind the field."""

import re

import schemathesis

RULES = [
    # between two fields
    r"expected a sequence to wait for with wait_ms",
    r"expected a time after published_after",
    r"expected it in the body or in the query string",
    r"expected a title, asr_text or frames",
    # of this model, this gateway
    r"expected an http or https address",  # with a host that can be read
    r"expected a value, found null",  # within a batch, whose queries are described loosely
    r"expected an embedding of \d+ numbers",
    r"cannot be used",  # a page token
    # of numbers and text as they are written, and of lines
    r"expected a finite number",  # beyond 32 bits
    r"expected a whole number( of 0 or more)?, found -?(\d+\.0|\d{19,})$",
    r"expected \d+ to \d+ bytes",  # a schema counts signs
    r"expected id, id and an optional label",
    r"expected text in UTF-8 with lines",
]
# What frames hold is checked against each other: dim, count, encoding, data.
FIELDS = [r"frames(\.\w+)?", r"videos\[\d+\]\.frames(\.\w+)?", r"(positive|negative)\[\d+\]\.video\.frames(\.\w+)?", r"pairs\[\d+\]\[\d\]\.video\.frames(\.\w+)?"]


@schemathesis.check
def refused_only_by_rules(ctx, response, case):
    if response.status_code != 400 or not case.meta or not case.meta.generation.mode.is_positive:
        return
    problem = response.json()
    field, detail = problem.get("field", ""), problem["detail"]
    if any(re.fullmatch(f, field) for f in FIELDS):
        return
    reason = detail.removeprefix(field + ": ")
    assert any(re.match(r, reason) for r in RULES), f"openapi.json allows what is refused: {detail}"
