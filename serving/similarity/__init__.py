"""Which texts say the same: one mechanism for repeated questions and for families of questions."""
