"""What happened, provable afterwards: a signed log, receipts that peers countersign, and their verification offline."""
