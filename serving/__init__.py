"""Prompt formats, checks of generated text, the model server, the completion client, sweeps."""
