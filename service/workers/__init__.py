"""Workers, as far as the service has heard from them."""
