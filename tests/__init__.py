"""A package, so that processes started by tests find it before a stranger's of the same name."""
