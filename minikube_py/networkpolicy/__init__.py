"""NetworkPolicy: compile, decide, explain; the Gate of the network.

Stands for the policy half of a CNI plugin. The pure cores, bottom up:

    blocks      ipBlock, and the two forms in which a cluster's addresses may be written
    identity    what policies know of a pod
    policy      the API objects as values
    pods        pods by address, as an immutable map
    compile     PolicySet: the immutable snapshot
    decide      decide(policy_set, flow) -> Decision (verdict), which keeps what each side said
    ranges      the same for a packet filter: whom a port must not hear
    explain     explain(policy_set, flow) -> Walk: every rule that was tried, and why it did not match
    why         lint(...) -> findings MK202, MK302 … MK308
    matrix      who reaches whom
    profiles    what the CNI plugins of the world do with policies

`agent` is the shell: `PolicyGate` follows the API and answers the network (`cni.types.Gate`). Sockets, and what a
denied caller sees of a denial, are the network's matter (`cni`).
"""
