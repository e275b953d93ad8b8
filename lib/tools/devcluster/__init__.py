"""Several nodes on one machine: each one a set of Linux namespaces with a root directory of its own.

doc/design/0010-devcluster.md says what such a node shares with its neighbours and what it does not.
"""
