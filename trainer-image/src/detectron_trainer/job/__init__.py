"""What is asked for and where: the manifest, the config that follows from it, the pod."""
