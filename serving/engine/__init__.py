"""Model servers: the vLLM child process, the completion client, the probe of a server."""
