# Stands in for MindIE's script of this name.
echo "NOW EXECUTING [kubectl delete] COMMANDS."
kubectl stub-delete "$@"
