"""Datasets by rules, QLoRA, merge and proof. Room kept for training rounds."""
