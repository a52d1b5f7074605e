"""A homeserver of one's own on this machine, the sample network on it, and the tour through it."""
