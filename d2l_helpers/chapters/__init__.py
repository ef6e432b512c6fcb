"""Generated: what the sections of each chapter teach and later ones import."""
