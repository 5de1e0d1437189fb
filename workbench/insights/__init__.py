"""What the ratings say: rankings, effects, agreement, bias, diversity. Numbers only, no drawing."""
