"""Three hosts on one machine: each with a network of its own, to be powered off, cut off, or reached badly.

    network         the wire that all are plugged into, in a network of the drill's own
    cable           a bad cable: what goes through it comes late, in part, or in one direction
    clock           the clock of gorgond's processes on a host, which can be set
    host            one host: power, its cable, its processes
    machine         what runs on a host, and keeps running it
    files           how a host's servers are configured
    database        the three mongods as one replica set
    sentinels       the Redis servers as their Sentinels see them
    balancer        HAProxy before the web servers of all
    lab             three hosts, as the fabric of a drill
    target          their processes as what a drill hurts

Nothing of it outlives the process that made it: the kernel kills what runs, and with it go the networks.
"""
