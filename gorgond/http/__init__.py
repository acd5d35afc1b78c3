"""HTTP: `server` speaks the protocol, `routes` finds the handler, `api` has the handlers.

accepting      connections are taken from listening sockets; `stream` is one of them
heads          how a request begins, read by `llhttp` or by Tornado; `framing` says where it ends
addresses      whose request it is
bodies         what a body may hold; `forms` as browsers send it
answers        status, headers, body, and how errors look
asking         what a request has the other servers do
cors           pages of other sites
accounts       accounts over HTTP; `site_logins` by way of another site; `credentials` says who asks
proving        whose the e-mail address of an account is
export         all that is a user's, as a file
applications   the routes of applications
hooks          what others push in
openapi        the API's description, made of the routes
sse            server-sent events; `telling` has the loops of those who watch, `job_live` tells of a job as it goes on
website        the pages
"""
