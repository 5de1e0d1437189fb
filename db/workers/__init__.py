"""Workers of one store: who lives, the lease of what each has claimed, and the claims."""
