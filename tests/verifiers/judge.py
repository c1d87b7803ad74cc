"""Judges webhooks as receivers in Python do. A case per line comes in as JSON, a verdict per line goes out.

What is called a sample is written after what a service tells its users to do, down to what it does
with two signatures in one header: such receivers exist, and have to pass.
"""

import base64
import hashlib
import hmac
import json
import sys
import time

import standardwebhooks
import stripe

TOLERANCE = 300


def fresh(seconds: str) -> bool:
    return abs(time.time() - int(seconds)) <= TOLERANCE


def hexadecimal(secret: str, seconds: str, body: bytes) -> str:
    return hmac.new(secret.encode(), f"{seconds}.".encode() + body, hashlib.sha256).hexdigest()


def xpay_sample(headers, body, secret):
    """A dictionary of the elements: of two v1 the last one stays, and an element with two = is an error."""
    elements = dict(element.split("=") for element in headers["xpay-signature"].split(","))
    expected = hexadecimal(secret, elements["t"], body)
    return fresh(elements["t"]) and hmac.compare_digest(elements["v1"], expected)


def jopay_raw(headers, body, secret):
    """The first two elements by position; the body as it came."""
    seconds, signature = (element.split("=")[1] for element in headers["x-jopay-signature"].split(",")[:2])
    return hmac.compare_digest(signature, hexadecimal(secret, seconds, body))


def elixpo_list(headers, body, secret):
    seconds = headers["x-elixpo-pay-timestamp"]
    expected = "sha256=" + hexadecimal(secret, seconds, body)
    signatures = headers["x-elixpo-pay-signature"].split(",")
    return fresh(seconds) and any(hmac.compare_digest(one, expected) for one in signatures)


def subscriptions_sample(headers, body, secret):
    expected = base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha512).digest()).decode()
    return hmac.compare_digest(headers["xpay-signature"], expected)


def stripes(headers, body, secret):
    header = headers.get("x-jopay-signature") or headers["xpay-signature"]
    # The check that its construct_event makes first; what follows makes an object of Stripe's own of it.
    return stripe.WebhookSignature.verify_header(body.decode(), header, secret, TOLERANCE)


def standard(headers, body, secret):
    standardwebhooks.Webhook(secret).verify(body, headers)
    return True


VERIFIERS = {
    "xpay-sample": xpay_sample,
    "jopay-raw": jopay_raw,
    "elixpo-list": elixpo_list,
    "subscriptions-sample": subscriptions_sample,
    "stripe": stripes,
    "standardwebhooks": standard,
}

for line in sys.stdin:
    case = json.loads(line)
    try:
        judge = VERIFIERS[case["verifier"]]
        accepted = judge(case["headers"], base64.b64decode(case["body"]), case["secret"])
        verdict = {"accepted": bool(accepted), "why": "" if accepted else "no match"}
    except Exception as error:  # whatever a verifier throws is a refusal
        verdict = {"accepted": False, "why": f"{type(error).__name__}: {error}"}
    print(json.dumps(verdict), flush=True)
