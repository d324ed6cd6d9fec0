"""What this server is and can do."""
