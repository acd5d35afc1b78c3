"""Users: who they are, how they prove it, what they may do. `roles.auth` serves it.

operations   what may be asked of the auth server: register, log in, log out …
users        accounts in the store, an e-mail address once
passwords    Argon2id
erasing      the end of an account
tokens       sessions: begun, validated from a cache, revoked everywhere
proving      what may be asked of it about e-mail addresses: confirm one, have another one, reset a password
letters      e-mails with a link, and what else accounts have their users told
links        the links in them
limits       how often a password may be tried
rights       who may do what
sealing      what is secret on its way from the web server
batches      the messages of a batch, each handled by itself or passed on together
records      the store, as all of these use it
identities   who our users are at other sites
sites        other sites that vouch for users: where they are asked, how their answers are read
oauth2       logging in there: OAuth 2.0 with PKCE, OpenID Connect
site_logins  what may be asked of the auth server about it
texts        one form for each address, name and password
"""
