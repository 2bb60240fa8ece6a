"""What a reader is given: a page, tables for the terminal and a csv file."""
