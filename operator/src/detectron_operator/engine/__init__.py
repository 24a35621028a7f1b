"""What keeps jobs as they should be: a cache of what is there, a queue of jobs to look at, and workers."""
