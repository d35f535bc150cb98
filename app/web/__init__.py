"""The web role: health, metrics, the signed-in pages and the API."""
