"""From what users hand over to checked arrays, and from outputs back to answers."""
