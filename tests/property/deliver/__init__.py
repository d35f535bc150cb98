"""Laws of delivery."""
