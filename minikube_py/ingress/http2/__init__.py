"""HTTP/2, towards callers and towards pods (gRPC). Loaded by the first that speaks it: frames are the `h2` library's.

caller     one caller's connection                 inbound    one of its streams, for an `Exchange`
pool       connections to pods, shared             messages   what may be said, and how much nonsense is borne (pure)
"""
