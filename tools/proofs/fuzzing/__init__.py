"""The parts of tools/prove fuzz.

inputs      values that are hard to digest
odd         parts of requests that HTTP does not allow
cases       requests made of them, by kind
attack      sending them and judging what comes back
described   the same by schemathesis, from /openapi.json
"""
