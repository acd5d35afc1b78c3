"""The stats server's picture of all that it hears, in bounded memory.

instances   what was last heard of each instance, and what it did since
queues      the figures of the queues, over all brokers, and the ledger that they add up to
channels    what each channel of notifications has sent, and what keeps it from that
jobs        what lies in the queue of each job, how long they waited and took, when they come next
brokers     what the brokers say of themselves; `replication` the servers that they are made of, in rows and in words
verdict     well, degraded or down, in words
history     what was done in each second, minute, hour and day; `packed` is how a period is kept
spans       what of it can be looked at; `heat` is the same as time by latency
roster      who is to be missed, for the next stats server
marks       what happened when
losses      what the durable broker had accepted, and has no record of any more
archive     history, marks and losses in the store
collector   what is heard and seen, for the stats server and gorgonctl
picture     all of it as one JSON object, computed once a second for all who look
prometheus  all of it for Prometheus
api         the HTTP API; `visitors` says who may do what, `viewers` sends the picture to who looks
operating   what of it is the operator's alone; `letters` are the dead ones
documents   the documentation, which the page leads to
guesses     wrong passwords, and how they slow down whoever gives them
sessions    who has logged in
"""
