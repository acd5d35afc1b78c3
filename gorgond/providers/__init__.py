"""Where data comes from: a kind of provider is a `Source`, found by the name that `[provider.NAME] kind` has, in
the table SOURCES or as an entry point of its group. docs/development.md says how to add one.

    source      the contract: what a source does, and what its provider does for it
    http        APIs outside that applications ask
    random      made-up notes; `pace` says how many are due
    pushing     items on their way to the store, however full its queue is
    polling     a source that is polled, from a cursor on
    serving     a source that is asked, and told
"""

from gorgond.plugins import Kinds

SOURCES = Kinds(
    "gorgond.providers",
    {"random": "gorgond.providers.random:RandomSource", "http": "gorgond.providers.http:HttpSource"},
)
