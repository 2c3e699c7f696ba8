"""Pages for people of what a protocol gives as data."""
