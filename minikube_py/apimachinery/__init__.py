"""What every Kubernetes object has in common, as pure functions: no I/O, no clock, no loop.

An object is the JSON that the user gave (`Object`, a plain dict); nothing is dropped from it.
**The law of objects:** what was handed to or came out of the store is never mutated; who wants a change
works on `meta.copy(obj)`. Snapshots, caches and watch events share structure because of it.
"""
