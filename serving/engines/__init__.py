"""Model servers: the vLLM child process, the completion client, and the probe of what a server can do."""
