"""The tools beside the roles: each command that is no role has its file here, imported only when it is called.

up            `gorgond up`
fleet         the processes of it: started, listed, ended in order
child         a process that is kept running
reloading     applications read anew when they are changed
notices       what it says of itself, as to systemd
control       the socket over which it is told what to do
directory     where its files are
vitals        what it hears of its services
screen        what it writes; `queues` is its table, `progress` its bar
serving       one instance of a role as this process
standalone    the configuration of a command apart from this host's services
simulate      every role as a task of one process
copying       a store moved to another database
client        many clients ask a web server: over `http11`, told by `report`, drawn by `plot`
load          a database filled with made-up notes
database      whether a database is set up safely
new           a small application to begin with
checking      all that is wrong with the configuration
watching      the watch over the broker
flags         flags that several commands have
units         gorgond's units under systemd
secrets       their secrets, and what each user may do in Redis; `files` writes what root writes for others
tls           the certificates for TLS between hosts
appendonly    Redis' files made readable after a power failure; `held` says what a broker that was stopped has in them
redis_server  the Redis that is installed
operator      what gorgonctl does; `hosts` what it does with several of them
jobs          gorgonctl jobs, and gorgond enqueue
"""
