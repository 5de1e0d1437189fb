"""Rating: queues are built, cards are dealt, presses become facts. No drawing."""
