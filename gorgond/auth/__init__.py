"""Users: who they are, how they prove it, what they may do. `roles.auth` serves it.

operations   what may be asked of the auth server: register, log in, log out …
users        accounts in the store, an e-mail address once
passwords    Argon2id
tokens       sessions: begun, validated from a cache, revoked everywhere
limits       how often a password may be tried
rights       who may do what
sealing      what is secret on its way from the web server
records      the store, as all of these use it
"""
