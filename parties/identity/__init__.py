"""Who a party is: its keys, the peers it has pinned, and the signed files with which two parties meet."""
