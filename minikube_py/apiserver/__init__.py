"""kube-apiserver and etcd: the store, the operations on it, and the HTTP front that kubectl drives.

store, operations          every object, one revision; what happens at every write, in kube-apiserver's order
admission, limitranger,    what is changed or refused before
  resourcequota, allocators
customkinds, rbac          kinds that users define; who may do what
server, routes, exchange   HTTPS; what a path asks for; one request on its way
rest, watches, paging,     the verbs on objects
  patching, deleteoptions, field_selector
bodies, protobuf,          bytes in, bytes out
  conversion, representation
subresources, scale,       what is no object of its own
  eviction, reviews, componentstatuses
pods, remote, portforward, what reaches into running pods
  proxy, streams, spdy
discovery, openapi         what there is
credentials, certificates, who is who
  kubeconfig
"""
