"""The mathematics: protocols, what they stand on, and the seams between them and whatever runs them."""
