"""One Kubernetes kind = one file: identity, defaults, validation, table columns, typed view.

To add a kind, write `kinds/<singular>.py` with a module-level `KIND = Kind(...)` and add the module's name to
`BUILTIN` in `kinds/registry.py` (one visible, ordered list). Everything else (discovery, OpenAPI, tables, kubectl's
short names, storage) follows from it.
"""
