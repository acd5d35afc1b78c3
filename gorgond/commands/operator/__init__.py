"""What gorgonctl does beside systemd's units (gorgond.commands.units): each subject has its file here.

site        which fabric it is, and how it is reached
watch       the picture of it: what the stats server shows; `observer` makes one where no stats server answers
overview    the picture as a screen: status; `live` draws it anew each second: top
listing     the picture as tables: queues, instances
letters     dead letters
groups      the durable groups of topics
pausing     queues are paused and resumed
draining    an instance finishes and ends
tracing     where a request is, or what became of it
text        tables and units for people
"""
