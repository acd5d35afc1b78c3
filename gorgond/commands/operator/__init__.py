"""The commands of gorgonctl beside those for systemd's units (gorgond.commands.units): each subject has its file here.

installation   which fabric it is, and how it is reached; `brokers` and `processes` of it are asked and told
watch          the picture of it: what the stats server shows; `observer` makes one where no stats server answers
overview       the picture as a screen: status; `live` draws it anew each second: top
replication    the servers that a broker is made of, as a table
listing        the picture as tables: queues, instances
letters        dead letters
notifications  the commands for channels of notifications; `deliveries` is what became of each notification
groups         the durable groups of topics; `route` is which queues have a broker of their own
tracing        where a request is, or what became of it
missing        what is missed, and is to be missed no more
roles          what users may do
noted          the line in the log that says who did what
answering      how all of it is told, to people and to programs
text           tables and units for people
"""
