"""kube-apiserver and etcd: the store, the operations on it, and (server.py) the HTTP front that kubectl drives."""
