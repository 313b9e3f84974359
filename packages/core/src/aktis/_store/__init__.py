"""Objects in shared memory: segment files, the process's side of the store and the node's."""
