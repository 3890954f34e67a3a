"""Keeps the caller of the generated requests able to go on: nobody else is as careful with that account."""

import os

import schemathesis

OWN = int(os.environ["CALLER_ID"])
# Somebody else, whom the demo brings along.
OTHER = 2


@schemathesis.hook
def before_call(context, case, kwargs):
    if (case.path_parameters or {}).get("user_id") in (OWN, str(OWN)):
        case.path_parameters["user_id"] = OTHER
    if isinstance(case.body, dict):
        for name in ("ids", "user_ids"):
            if isinstance(case.body.get(name), list):
                case.body[name] = [OTHER if str(item) == str(OWN) else item for item in case.body[name]]
