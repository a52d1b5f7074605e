"""What was said in a chat, for people and for the record: collected, composed, rendered, bundled and verified.

Nothing in this folder talks to a homeserver, a database or a clock: events, people, files and the time come in.
"""
