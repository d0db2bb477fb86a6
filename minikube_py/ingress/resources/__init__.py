"""Custom resources of the controllers beside ingress-nginx: one kind = one file, on the shared routing and proxying.

    definition    what installing a controller adds to the API         routes    routes beside those of Ingresses
    middleware, ingressroute, traefikrule      Traefik                 kongplugin        Kong
    virtualservice                             Istio's gateway         httpproxy         Contour

They exist only while their controller is switched on. To add one, write its file: a `DEFINITION`, and either
`compile_routes(custom)` for what routes by itself or a function that changes a `Draft` for what an annotation names;
then list both in the controller's `flavors/<name>.py`. Everything is pure; fields that have no effect here are reported
as problems of the object, which become its Events.
"""
