"""TLS: by the name that a caller asks for.

certificates   which certificate is shown        passthrough   the listener: ended here, or passed on to a pod
sni            the name in a ClientHello (pure)
"""
