"""The Matrix side of qwil: it asks the policy, and carries its answers to the homeserver and back."""
