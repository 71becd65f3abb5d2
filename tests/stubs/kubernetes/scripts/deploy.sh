# Stands in for MindIE's script of this name: run by bash, in its own directory, without the right to execute.
kubectl stub-deploy "$@"
