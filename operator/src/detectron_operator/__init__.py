"""Control plane: turns DetectronTrainingJobs into gangs of torchrun pods and tells the truth about them."""
