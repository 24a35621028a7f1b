"""What a config describes, built: from a yaml config by Detectron2's registries, or from a lazy one."""
