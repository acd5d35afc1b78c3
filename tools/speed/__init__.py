"""The parts of tools/bench.py.

processes   starting programs, their CPU and memory, their end
servers     Redis and mongod
ports       for servers of our own
site        a whole gorgond: brokers, stores, web servers, in a layout
baseline    what gorgond is compared with: Tornado straight on pymongo
stage       what all cases stand on: the scale, the data set, the directory
measure     asking over HTTP with wrk; CPU a request
flow        watching a queue until all of it is settled
cases       one function for each case
report      the table and the JSON
echo, pump  processes of our own: a store without a database; a producer or consumer of messages
raw         what pump is compared with: the same straight on Redis; amqp and jetstream: over RabbitMQ, over NATS
others      other systems, started where they are installed
"""
