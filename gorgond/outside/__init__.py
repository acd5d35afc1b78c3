"""Servers outside, which somebody else names: asked over HTTP, and never one of ours.

addresses    which addresses are the public's, in whatever form they are written
urls         which URLs anybody may have us ask
lookups      from a name to addresses, each of them judged
connections  their connections, and what becomes of those that hang
http         asking: no redirect is followed, and no answer is larger or slower than it may be
"""
