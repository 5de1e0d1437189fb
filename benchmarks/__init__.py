"""What is measured, and how; results lie in ``results/``, explained in docs/benchmarks.md."""
