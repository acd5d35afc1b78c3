"""Several hosts with one broker, of which each has a copy: how a host joins them and leaves them.

parser        the commands of gorgonctl: join, invite, leave, broker
addresses     which hosts they are, and which of them is this one
files         what a host's Redis and Sentinel are configured with
asking        a Redis or a Sentinel of one of the hosts, for an operator
invitation    what a host must have of the others to join them
joining       a host joins
leaving       a host leaves
role          whether the broker of a host starts as master or replica: asked before each start
following     a replica follows another master at once
failover      another host has the master
status        the copies that there are, in words
"""
