"""HTTP on Tornado: `server` speaks the protocol, `routes` finds the handler, `api` has the handlers."""
