"""A real Kubernetes on one Debian machine, built from the Go modules of its parts.

`controlplane` alone (etcd, API server, controllers, scheduler) needs no root; `cluster` adds two nodes
with containers.
"""
