"""Jobs: what was proposed, who approved it, which attempt runs, how it ended. All of it in the node's database."""
