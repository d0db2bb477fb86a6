"""Custom resources of the controllers beside ingress-nginx: one kind = one file, on the shared routing and proxying.

    routes                                    routes beside those of Ingresses, and the table of both
    middleware, ingressroute, traefikrule     Traefik
    kongplugin                                Kong
    virtualservice                            Istio's ingress gateway
    httpproxy                                 Contour

They exist only while their controller is switched on. To add one, define it in `kinds.controllerkinds` and write its
file: either `compile_routes(custom)` for what routes by itself, which the controller's `flavors/<name>.py` lists, or a
function that changes a `Draft` for what an annotation names. Everything is pure; fields that have no effect here are
reported as problems of the object, which become its Events.
"""
