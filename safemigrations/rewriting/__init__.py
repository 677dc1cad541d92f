"""Migration files written anew: fixed, or with Django's own operations. The rest of a file stays as it is."""
