"""The composition root: one cluster, its parts introduced to each other and started in one literal order.

settings, composition        from documents and flags to a config; the start list
machines, ingress, addons,   what stands behind Nodes, which ingress controllers run, what a fresh cluster contains
  system_pods
local                        what people ask of it: apply, wait, scale, kill, look
  apply, targets, waiting,     how each of that is done
  nodes, urls
problems, gateway_problems,  what is wrong
  ingress_problems, workload_problems, selection
why, why_ends, why_answer,   why A reaches B or a URL leads somewhere: models, and probes beside them
  why_url, why_reasons, probing, reachability
wiring, wirecheck            what manifests wire together, and whether it really connects
caller                       being a pod, for curl, dig and test clients
state, folder                what is on disk
"""
