"""Who is who: patients that were merged, by the RIS or by hand, and what that changes for kept rows and searches."""
