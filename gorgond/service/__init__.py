"""The common part of every daemon: life cycle, systemd, metrics, log.

life           how a server starts, works, drains and ends; `process` is one as a process, `loop` its event loop
ends           its ends of queues and topics; `watched` is what runs in it, `heartbeat` whether that turns
heart          once a second: what it does, for systemd (`systemd`); `figures` for the stats servers
metrics        what it counts and measures; `log` is what it says
channels       the words in which notification servers tell how their channels fare
fabric         the brokers of a fabric, and which carries what; `calling` is how calls find theirs, `routing` what all
               hosts agree on, `access` what each role may do there, `pauses` what is paused
leading        which of several instances does what one alone may do
last_word      what a process tells that cannot run
watch          whether the broker of this host answers
memory         how a process keeps the memory that a batch takes
stall          what blocks the event loop; `alarm` notices it
clock          how far this host's clock is from the broker's
machine        what this machine is called, and which it is
signals        of the process, from its first moment to its last
tied           processes that end with the one that started them
answering      from a handler that others wrote to an outcome
share          how much of something dear each client may have under way
agents         the browser that a session was begun with
plain          text of others as it may be shown; `pseudonyms` is what stands for them in the log
output         what a command prints, to a reader who may have gone
words          figures in sentences
"""
