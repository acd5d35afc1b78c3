"""The commands for jobs: `gorgonctl jobs`, and `gorgond enqueue`.

parser       gorgonctl jobs, as it is understood and told
asking       what an operator asks of jobs, and does to them
enqueuing    gorgond enqueue
"""
