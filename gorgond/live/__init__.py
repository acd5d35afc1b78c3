"""Notifications and public notes live over Socket.IO, for programs and for pages of one's own.

door        the port: who is let in, what becomes of a connection until it is cut
websocket   one client's connection, with its bounds
items       public notes of a user, or with a keyword, for who has subscribed to them
"""
