"""HTTP/1.1, towards callers and towards pods.

caller     one caller's connection: relays simple requests at once, hands all others to aiohttp (`front`)
inbound    a request that aiohttp has parsed, for an `Exchange`
pool       keep-alive connections to pods
messages   what may be said: heads and the law of framing (pure)
"""
