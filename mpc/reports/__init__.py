"""Joint reports in SQL: one text, compiled by every party to the same plan, computed on shares."""
