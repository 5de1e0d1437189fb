"""The process that trains: Unsloth patches it, and only its exit gives all memory back."""
