"""What makes a training step fast: an FP8 base, packed attention, compiled layers, no padding."""
