"""Rating: queues, and the cards of one queue."""
