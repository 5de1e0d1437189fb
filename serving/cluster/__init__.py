"""Models on the nodes of a Ray cluster: run as a child process, the only one that imports Ray."""
