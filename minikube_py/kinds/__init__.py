"""One Kubernetes kind = one file: identity, defaults, validation, table columns.

To add a kind, write `kinds/<singular>.py` with a module-level `KIND = Kind(...)` and add the module's name to
`BUILTIN` in `kinds/registry.py` (one visible, ordered list). Everything else (discovery, OpenAPI, tables, kubectl's
short names, storage) follows from it. The Gateway API's kinds are in `gateway/`, those of other controllers (Traefik,
Kong, …) in `controllerkinds.py`, what is only stored in `stored.py`, users' own in `custom.py`.

Beside the kinds, what several of them mean alike:

    rules, tables, jsonpath                          metadata, labels, ports, numbers; cells; printer columns
    podspec, podresources, placement                 a pod as it is completed; what it asks for; which node it may be on
    podrules, containerrules, volumerules,           what a pod must be, in Kubernetes' words
      placementrules
    workload, quota, structural                      templates; what objects use of a quota; custom kinds' schemas
    clusterconfig, imagemapping                      our own `kind: Cluster`
    check                                            all of it, without a cluster: `mkpy validate`
"""
