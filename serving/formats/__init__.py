"""Prompt formats and roles: definitions, rendering to token ids, parsing of completions."""
