"""Statistics that several features share: intervals, comparisons, influence. No screens."""
