"""Runs a DetectronTrainingJob with Detectron2: the worker under torchrun and the local command line."""
