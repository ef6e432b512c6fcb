"""What an author and CI run: pair, export, run, check, site. `python -m bookbuild --help` lists the verbs."""
