"""gorgon-chaos: kills, stops and hangs gorgond's processes, and proves that nothing was lost by it.

    target local units       what can be hurt: the processes of `gorgond up`, the units of this host
    faults undo              what is done to it, and the journal that undoes it
    rails                    what must be allowed, and how much at once
    attempts load            a client that writes down all it asks before it asks, and what came of it
    witness gauges           what is stored, where each message lies; the queues' figures over time
    verdict                  from all of these: what was lost, doubled, misplaced
    drill drills/            the drills, and how one is run
    stage                    a fabric of the drill's own, in a temporary directory
    hosts/                   three hosts with networks of their own, on this machine
    report junit             what is told
    marks                    when a drill began and ended, on the stats page
    cli errors               the command line; how a run ends otherwise than with a verdict
    actions                  single faults by hand
    servers mongod routed    the Redis servers, asked directly; a mongod, and one that queues are routed to, to be
                             killed
    outside                  what notifications are sent to: `mailserver`, `endpoint`
    proxy                    a bad network between roles and a broker
    accounts application     who is logged in during a drill, and the application they ask
    consumer                 what poison kills
    chart                    a drill as one SVG

docs/chaos.md is the operator's manual.
"""
