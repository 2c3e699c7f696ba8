"""How a node reaches its peers: one resumable stream a pair, carrying control messages and workers' sessions."""
