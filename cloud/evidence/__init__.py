"""Evidence: everything one figure rests on in one file, and the check of it that needs nobody."""
