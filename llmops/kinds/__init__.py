"""One file, or one folder, per kind of resource."""
