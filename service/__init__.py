"""The service: REST in front, a database behind, a queue to the workers. No torch."""
