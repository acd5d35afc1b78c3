"""The proofs of tools/prove that are no test in long.

kills      auth and app servers die under load: whose are the answers?
power      the power fails under load: is there what was acknowledged?
disk       a file system whose power can fail
fuzz       requests that are wrong in every way
fuzzing    what is sent for it
proof      what they share: how they are begun, ended and told
"""
